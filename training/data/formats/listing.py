"""Helpers of the readers: rows checked one by one, and text and JSON read strictly."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from training.data.formats.file_index import FoundPhoto, composed
from training.data.formats.folders import PhotoFolders
from training.data.photo import Photo
from training.data.problems import InvalidDataset, Problem
from training.data.splits import SPLITS, canonical_split

Listing = Iterator[Photo | Problem]


def checked_photo(
    name: Any, captions: Any, split: Any, folders: PhotoFolders | None = None
) -> Photo:
    """Return the photo that a row describes, after a check of the row's values.

    Parameters
    ----------
    folders
        Where to look for its file; without them the photo has none yet.

    Raises
    ------
    ValueError
        A value is not what it must be.
    """
    if not isinstance(name, str) or not name:
        raise ValueError(f"the photo's name is {name!r}")
    if not isinstance(captions, list) or not all(isinstance(text, str) for text in captions):
        raise ValueError("its captions are not all text")
    split = canonical_split(split)
    if split not in (None, *SPLITS):
        raise ValueError(f"split {split!r} is none of {', '.join(SPLITS)}")
    found = folders.find(name) if folders else FoundPhoto(name, None)
    splits = (split,) if split else ()
    return Photo(composed(found.name), tuple(captions), splits, found.file, found.hint)


def each_row(rows: Iterable[tuple[str, Any]], photo: Callable[[Any], Photo | Problem]) -> Listing:
    """Yield the photo of every row, or the problem that its reading returned or raised.

    Parameters
    ----------
    rows
        Pairs of a row's place, for messages, and the row.
    photo
        Reads one row.
    """
    for where, row in rows:
        try:
            yield photo(row)
        except (KeyError, TypeError, AttributeError, ValueError, OSError) as error:
            yield Problem.of_row(where, error)


def merged(rows: Listing) -> Listing:
    """Yield the problems of a table, then its photos, each with the captions of all its rows."""
    photos: dict[tuple[str, tuple[str, ...]], Photo] = {}
    for item in rows:
        if isinstance(item, Problem):
            yield item
            continue
        key = item.name, item.splits
        if key in photos:
            item = replace(item, captions=photos[key].captions + item.captions)
        photos[key] = item
    yield from photos.values()


def numbered(name: str, rows: list[Any]) -> Iterator[tuple[str, Any]]:
    """Yield the items of a JSON list, each with its place, such as ``images[3]``."""
    return ((f"{name}[{i}]", row) for i, row in enumerate(rows))


def is_json(source: Path) -> bool:
    return source.suffix == ".json" and source.is_file()


def read_document(source: Path) -> dict[str, Any]:
    """Return a JSON object with the list ``images``; raises `InvalidDataset` for anything else."""
    try:
        document = parse_json(read_text(source))
        if isinstance(document["images"], list):
            return dict(document)
        raise TypeError(f"'images' is {type(document['images']).__name__}")
    except InvalidDataset:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidDataset(f"{source} is not JSON with a list 'images': {error}") from error


def read_text(path: Path) -> str:
    """Return a file's text; raises `InvalidDataset` if it cannot be read or is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InvalidDataset(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidDataset(f"{path} is not UTF-8; save it as UTF-8") from error


def parse_json(text: str | bytes) -> Any:
    """Return a JSON value; raises `ValueError` where an object has a key twice."""
    return json.loads(text, object_pairs_hook=_object)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"it has {next(key for key in keys if keys.count(key) > 1)!r} twice")
    return found
