"""The forms captioned photos come in: each is read into what it lists, row by row, unjudged."""

from __future__ import annotations

import csv
import io
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from training.listing import (
    BAD_ROW,
    SPLIT_NAMES,
    SPLITS,
    Entry,
    InvalidDataset,
    Listing,
    Problem,
)
from training.shards import tars, webdataset

_SPLIT_LISTS = {name: f"Flickr_8k.{name}Images.txt" for name in ("train", "dev", "test")}


def recognise(source: Path) -> str:
    """The form of a source, one of `READERS`; raises `InvalidDataset` if it has none of them."""
    if source.suffix == ".json" and source.is_file():
        return "coco" if "annotations" in _document(source) else "karpathy"
    if (source / "captions.txt").is_file():
        return "kaggle"
    if (source / "Flickr8k.token.txt").is_file():
        return "flickr8k-token"
    if any(_metadata_files(source)):
        return "imagefolder"
    if tars(source):
        return "webdataset"
    if not source.exists():
        raise InvalidDataset(f"{source} does not exist")
    raise InvalidDataset(
        f"{source} is no dataset of a known form: a JSON file of Karpathy's or COCO's, a folder"
        " with captions.txt, Flickr8k.token.txt or metadata.jsonl or .csv, a .tar or a folder of"
        " such"
    )


def _karpathy(source: Path) -> Listing:
    roots = _roots(source.parent)

    def entry(image: dict[str, Any]) -> Entry:
        name = str(PurePosixPath(image.get("filepath") or "", image["filename"]))
        texts = [s["raw"] if "raw" in s else " ".join(s["tokens"]) for s in image["sentences"]]
        return Entry.checked(roots, name, texts, image.get("split"))

    return _each(_numbered("images", _document(source)["images"]), entry)


def _coco(source: Path) -> Listing:
    document = _document(source)
    if not isinstance(document.get("annotations"), list):
        raise InvalidDataset(f"{source} has no list 'annotations'; COCO's captions are in one")
    captions: dict[Any, list[str]] = defaultdict(list)
    for where, annotation in _numbered("annotations", document["annotations"]):
        try:
            captions[annotation["image_id"]].append(annotation["caption"])
        except (KeyError, TypeError) as error:
            yield Problem.of_row(where, error)
    # COCO keeps annotations/captions_val2017.json apart from val2017/.
    year = source.stem.rpartition("_")[2]
    roots = [*_roots(source.parent), source.parent / year, source.parent.parent / year]
    yield from _each(
        _numbered("images", document["images"]),
        lambda image: Entry.checked(roots, image["file_name"], captions.pop(image["id"], []), None),
    )
    for left in captions:
        yield Problem(BAD_ROW, f"annotations of image_id {left!r}", "no image has this id")


def _kaggle(folder: Path) -> Listing:
    path = folder / "captions.txt"
    header, *lines = _text(path).split("\n")
    if header.strip() != "image,caption":
        raise InvalidDataset(f"{path}: its first line must be 'image,caption'")
    captions: dict[str, list[str]] = defaultdict(list)
    for number, line in enumerate(lines, 2):
        # Captions hold commas and are not always quoted for it. Line by line, a quote that is
        # never closed spoils no line but its own.
        try:
            row = next(csv.reader([line]), [])
        except csv.Error as error:
            yield Problem(BAD_ROW, f"{path.name} line {number}", str(error))
            continue
        if row:
            captions[row[0]].append(",".join(row[1:]))
    yield from _listed(folder, captions)


def _flickr8k_token(folder: Path) -> Listing:
    path = folder / "Flickr8k.token.txt"
    captions: dict[str, list[str]] = defaultdict(list)
    for number, line in enumerate(_text(path).split("\n"), 1):
        key, tab, text = line.partition("\t")
        if tab:
            captions[key.partition("#")[0]].append(text)
        elif line.strip():
            yield Problem(BAD_ROW, f"{path.name} line {number}", "it has no tab")
    yield from _listed(folder, captions)


def _listed(folder: Path, captions: dict[str, list[str]]) -> Listing:
    """The photos of Flickr's split lists in their order, then those that are in none."""
    roots = _roots(folder)
    rows: list[tuple[str, str | None]] = []
    for split, name in _SPLIT_LISTS.items():
        if (path := folder / name).is_file():
            rows += [(line.strip(), split) for line in _text(path).split("\n") if line.strip()]
    listed = {name for name, _ in rows}
    rows += [(name, None) for name in captions if name not in listed]
    return _each(
        ((name, (name, split)) for name, split in rows),
        lambda row: Entry.checked(roots, row[0], captions.get(row[0], []), row[1]),
    )


def _imagefolder(folder: Path) -> Listing:
    entries: dict[tuple[str, str | None], Entry] = {}
    for path in _metadata_files(folder):
        for item in _metadata(folder, path):
            if isinstance(item, Problem):
                yield item
                continue
            key = item.name, item.split
            if key in entries:  # a row for every caption
                item = replace(item, captions=entries[key].captions + item.captions)
            entries[key] = item
    yield from entries.values()


def _metadata_files(folder: Path) -> list[Path]:
    folders = [folder, *(folder / name for name in (*SPLITS, *SPLIT_NAMES))]
    paths = (inner / f"metadata.{kind}" for inner in folders for kind in ("jsonl", "csv"))
    return [path for path in paths if path.is_file()]


def _metadata(folder: Path, path: Path) -> Listing:
    inner = path.parent.relative_to(folder)  # "." or a split's folder

    def entry(row: str | dict[str, Any]) -> Entry:
        fields = json.loads(row) if isinstance(row, str) else row
        texts = fields["text"] if isinstance(fields["text"], list) else [fields["text"]]
        split = inner.name or fields.get("split")
        return Entry.checked([folder], str(inner / fields["file_name"]), texts, split)

    rows: list[tuple[int, Any]]
    if path.suffix == ".jsonl":
        lines = enumerate(_text(path).split("\n"), 1)
        rows = [(number, line) for number, line in lines if line.strip()]
    else:
        reader = csv.DictReader(io.StringIO(_text(path), newline=""), strict=True)
        try:
            rows = [(reader.line_num, row) for row in reader]
        except csv.Error as error:
            where = f"{path} after line {reader.line_num}"
            raise InvalidDataset(f"{where} is not CSV: {error}; mend its quotes") from error
    return _each(((f"{inner / path.name} line {n}", row) for n, row in rows), entry)


def _roots(folder: Path) -> list[Path]:
    """Where photos may lie: in a folder beside what lists them, or right beside it."""
    return [*(folder / name for name in ("Images", "images", "Flicker8k_Dataset")), folder]


def _numbered(what: str, rows: list[Any]) -> Iterator[tuple[str, Any]]:
    return ((f"{what}[{i}]", row) for i, row in enumerate(rows))


def _each(rows: Iterable[tuple[str, Any]], entry: Callable[[Any], Entry]) -> Listing:
    """The entry of every row, or the problem that kept it from being one."""
    for where, row in rows:
        try:
            yield entry(row)
        except (KeyError, TypeError, AttributeError, ValueError, OSError) as error:
            yield Problem.of_row(where, error)


def _document(source: Path) -> dict[str, Any]:
    try:
        document = json.loads(_text(source))
        if isinstance(document["images"], list):
            return dict(document)
        raise TypeError(f"'images' is {type(document['images']).__name__}")
    except InvalidDataset:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidDataset(f"{source} is not JSON with a list 'images': {error}") from error


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InvalidDataset(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidDataset(f"{path} is not UTF-8; save it as UTF-8") from error


READERS: dict[str, Callable[[Path], Listing]] = {
    "karpathy": _karpathy,
    "coco": _coco,
    "kaggle": _kaggle,
    "flickr8k-token": _flickr8k_token,
    "imagefolder": _imagefolder,
    "webdataset": webdataset,
}
