"""The forms captioned photos come in: each is read into what it lists, row by row, unjudged."""

from __future__ import annotations

import csv
import io
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from training.data.listing import (
    BAD_ROW,
    SPLIT_FOLDERS,
    Entry,
    InvalidDataset,
    Listing,
    PhotoFolders,
    Problem,
    canonical_split,
    composed,
    read_json,
)
from training.data.shards import tars, webdataset

_SURPLUS = "surplus fields"
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
    folders = PhotoFolders(_roots(source.parent))

    def entry(image: dict[str, Any]) -> Entry:
        name = str(PurePosixPath(image.get("filepath") or "", image["filename"]))
        texts = [s["raw"] if "raw" in s else _sentence(s["tokens"]) for s in image["sentences"]]
        return Entry.checked(folders, name, texts, image.get("split"))

    return _each(_numbered("images", _document(source)["images"]), entry)


def _sentence(tokens: Any) -> str:
    if not isinstance(tokens, list):
        raise TypeError(f"'tokens' is {type(tokens).__name__}, not a list")
    return " ".join(tokens)


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
    places = [*_roots(source.parent), source.parent / year, source.parent.parent / year]
    folders, ids = PhotoFolders(places), set()

    def entry(image: dict[str, Any]) -> Entry:
        if image["id"] in ids:
            raise ValueError(f"another image has its id, {image['id']!r}")
        ids.add(image["id"])
        texts = captions.pop(image["id"], [])
        return Entry.checked(folders, image["file_name"], texts, None)

    yield from _each(_numbered("images", document["images"]), entry)
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
        if len(row) == 1:
            yield Problem(BAD_ROW, f"{path.name} line {number}", "it has no comma")
        elif row:
            captions[composed(row[0])].append(",".join(row[1:]))
    yield from _listed(folder, captions)


def _flickr8k_token(folder: Path) -> Listing:
    path = folder / "Flickr8k.token.txt"
    captions: dict[str, list[str]] = defaultdict(list)
    for number, line in enumerate(_text(path).split("\n"), 1):
        key, *texts = line.split("\t")
        if len(texts) == 1:
            captions[composed(re.sub(r"#\d+$", "", key))].append(texts[0])
        elif line.strip():
            reason = f"it has {len(texts)} tabs, not one" if texts else "it has no tab"
            yield Problem(BAD_ROW, f"{path.name} line {number}", reason)
    yield from _listed(folder, captions)


def _listed(folder: Path, captions: dict[str, list[str]]) -> Listing:
    """The photos of Flickr's split lists in their order, then those that are in none.

    Parameters
    ----------
    captions
        Of composed names.
    """
    folders = PhotoFolders(_roots(folder))
    rows: list[tuple[str, str | None]] = []
    for split, name in _SPLIT_LISTS.items():
        if (path := folder / name).is_file():
            names = (composed(line.strip()) for line in _text(path).split("\n"))
            rows += [(name, split) for name in names if name]
    listed = {name for name, _ in rows}
    rows += [(name, None) for name in captions if name not in listed]
    return _each(
        ((name, (name, split)) for name, split in rows),
        lambda row: Entry.checked(folders, row[0], captions.get(row[0], []), row[1]),
    )


def _imagefolder(folder: Path) -> Listing:
    entries: dict[tuple[str, str | None], Entry] = {}
    photos, files = PhotoFolders([folder]), _metadata_files(folder)
    inner = [path for kind in ("jsonl", "csv") for path in folder.glob(f"[!.]*/metadata.{kind}")]
    if unknown := sorted(set(inner) - set(files)):
        raise InvalidDataset(
            f"{unknown[0]}: its folder is not named after a split ({', '.join(SPLIT_FOLDERS)});"
            f" rename the folder, or list its photos in {folder / unknown[0].name}"
        )
    for path in files:
        for item in _metadata(folder, path, photos):
            if isinstance(item, Problem):
                yield item
                continue
            key = item.name, item.split
            if key in entries:  # a row for every caption
                item = replace(item, captions=entries[key].captions + item.captions)
            entries[key] = item
    yield from entries.values()


def _metadata_files(folder: Path) -> list[Path]:
    folders = [folder, *(folder / name for name in SPLIT_FOLDERS)]
    paths = (inner / f"metadata.{kind}" for inner in folders for kind in ("jsonl", "csv"))
    return [path for path in paths if path.is_file()]


def _metadata(folder: Path, path: Path, photos: PhotoFolders) -> Listing:
    inner = path.parent.relative_to(folder)  # "." or a split's folder

    def entry(row: Any) -> Entry:
        fields = read(row)
        texts = fields["text"] if isinstance(fields["text"], list) else [fields["text"]]
        split = fields.get("split")
        if inner.name and split and canonical_split(split) != canonical_split(inner.name):
            raise ValueError(f"its split is {split!r}, but its folder {inner.name!r}")
        return Entry.checked(photos, str(inner / fields["file_name"]), texts, inner.name or split)

    rows: Iterable[tuple[int, Any]]
    read: Callable[[Any], Any]
    if path.suffix == ".jsonl":
        lines = enumerate(_text(path).split("\n"), 1)
        rows, read = ((number, line) for number, line in lines if line.strip()), read_json
    else:
        rows, read = _csv_rows(path), _whole_row
    return _each(((f"{inner / path.name} line {n}", row) for n, row in rows), entry)


def _csv_rows(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """The rows by their last line's number."""
    reader = csv.DictReader(io.StringIO(_text(path), newline=""), restkey=_SURPLUS, strict=True)
    try:
        columns = list(reader.fieldnames or ())
        if not {"file_name", "text"} <= set(columns) or len(set(columns)) < len(columns):
            raise InvalidDataset(
                f"{path}: its first line must name the columns 'file_name' and 'text', each column"
                f" once and with commas between them; it names {columns}"
            )
        return [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        where = f"{path} after line {reader.line_num}"
        raise InvalidDataset(f"{where} is not CSV: {error}; mend its quotes") from error


def _whole_row(row: dict[str, Any]) -> dict[str, Any]:
    """The row, if it has a field for every column and no more."""
    if surplus := row.get(_SURPLUS):
        raise ValueError(
            f"it has {len(surplus)} fields more than there are columns; a caption with commas needs"
            " quotes around it"
        )
    if None in row.values():
        raise ValueError("it has fewer fields than there are columns")
    return row


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
        document = read_json(_text(source))
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
