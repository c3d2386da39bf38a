"""The forms captioned photos come in -> one list of photos with captions and split."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SPLITS = ("train", "val", "test")


class InvalidDataset(ValueError):
    """The source cannot be read as captioned photos; the message says what and where."""


@dataclass(frozen=True)
class Example:
    """A photo and everything people said about it."""

    path: Path
    captions: tuple[str, ...]
    split: str  # one of SPLITS


def read(source: str | Path) -> list[Example]:
    """Read a dataset, whatever its form.

    Parameters
    ----------
    source
        A folder with ``captions.txt`` (Kaggle's CSV ``image,caption``), ``Images/`` and Flickr's
        split lists, or a JSON file in Karpathy's form, its photos beside it or in a folder
        ``images`` or ``Images`` beside it.

    Raises
    ------
    InvalidDataset
        Names the file and what it lacks. A photo that is listed must be there and have a caption.
    """
    source = Path(source)
    if source.is_dir():
        examples = _read_kaggle(source)
    elif source.suffix == ".json" and source.is_file():
        examples = _read_karpathy(source)
    else:
        raise InvalidDataset(
            f"{source} is neither a folder with captions.txt nor a JSON file in Karpathy's form"
        )
    _complain(source, "photos that do not exist", (e for e in examples if not e.path.is_file()))
    _complain(source, "photos without a caption", (e for e in examples if not e.captions))
    return examples


def of_split(examples: Iterable[Example], split: str) -> list[Example]:
    """The examples of one split; raises `InvalidDataset` if there are none."""
    chosen = [example for example in examples if example.split == split]
    if not chosen:
        raise InvalidDataset(f"the dataset has no photo in its {split} split")
    return chosen


def _complain(source: Path, what: str, examples: Iterable[Example]) -> None:
    if names := [example.path.name for example in examples]:
        shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        raise InvalidDataset(f"{source} lists {len(names)} {what}: {shown}")


def _read_kaggle(folder: Path) -> list[Example]:
    captions_file = folder / "captions.txt"
    captions: dict[str, list[str]] = defaultdict(list)
    with _opened(captions_file) as file:
        rows = csv.reader(file)
        if next(rows, None) != ["image", "caption"]:
            raise InvalidDataset(f"{captions_file}: its first line must be 'image,caption'")
        for row in rows:
            # Captions hold commas and are not always quoted for it.
            if text := ",".join(row[1:]).strip():
                captions[row[0]].append(text)

    examples = []
    for split, name in (("train", "train"), ("val", "dev"), ("test", "test")):
        split_list = folder / f"Flickr_8k.{name}Images.txt"
        if split == "test" and not split_list.exists():
            continue  # a test split may well be kept apart
        with _opened(split_list) as file:
            for photo in file.read().split():
                path = folder / "Images" / photo
                examples.append(Example(path, tuple(captions.get(photo, ())), split))
    return examples


def _read_karpathy(source: Path) -> list[Example]:
    with _opened(source) as file:
        try:
            images = json.load(file)["images"]
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidDataset(f"{source} is not JSON with a list 'images': {error!r}") from error
    beside = (source.parent / name for name in ("images", "Images"))
    folder = next((f for f in beside if f.is_dir()), source.parent)

    def example(image: dict[str, Any]) -> Example:
        split = {"restval": "train"}.get(image["split"], image["split"])  # COCO's way to say train
        if split not in SPLITS:
            raise ValueError(f"split {split!r} is none of {', '.join(SPLITS)}")
        path = folder / image.get("filepath", "") / image["filename"]
        texts = (s["raw"] if "raw" in s else " ".join(s["tokens"]) for s in image["sentences"])
        return Example(path, tuple(text for text in texts if text.strip()), split)

    return _each(source, images, example)


def _each(
    source: Path, items: list[dict[str, Any]], make: Callable[[dict[str, Any]], Example]
) -> list[Example]:
    made = []
    for i, item in enumerate(items):
        try:
            made.append(make(item))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise InvalidDataset(f"{source}: images[{i}]: {error!r}") from error
    return made


def _opened(path: Path) -> Any:
    try:
        return open(path, encoding="utf-8", newline="")
    except OSError as error:
        raise InvalidDataset(f"{path}: {error.strerror}") from error
