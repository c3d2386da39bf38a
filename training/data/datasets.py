"""A source of captioned photos, in whatever format -> photos fit for use, and what was wrong."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from model.word_map import count_words, tokenize
from training.data import formats
from training.data.formats.columns import RECOGNISED, ColumnChoice
from training.data.formats.file_index import composed
from training.data.photo import Photo
from training.data.problems import (
    DUPLICATE,
    EMPTY_CAPTION,
    IN_NO_SPLIT,
    IN_SEVERAL_SPLITS,
    LONG_CAPTION,
    MISSING,
    NO_CAPTION,
    InvalidDataset,
    Problem,
)
from training.data.splits import SPLITS


@dataclass(frozen=True)
class Dataset:
    """The photos of a source, and what was wrong with the rest of it."""

    photos: tuple[Photo, ...]  # each once, with its file, in the source's order
    problems: tuple[Problem, ...]
    format: str

    def of_split(self, split: str) -> list[Photo]:
        """Return the photos of one split; raises `InvalidDataset` if there are none."""
        found = [photo for photo in self.photos if split in photo.splits]
        if not found:
            there = [name for name in SPLITS if any(name in photo.splits for photo in self.photos)]
            has = f"it has {', '.join(there)}" if there else "'captioner prepare' draws one"
            raise InvalidDataset(f"the dataset has no split {split!r}; {has}")
        return found


def read(
    source: str | Path,
    format: str = "auto",
    max_words: int = 50,
    columns: ColumnChoice = RECOGNISED,
) -> Dataset:
    """Read a dataset in any of the formats of `training.data.formats.READERS`.

    Parameters
    ----------
    source
        A file or folder; the docstring of each format's module says how it is laid out.
    format
        Name of the format; ``auto`` recognises it.
    max_words
        Captions of more words are left out; three characters of Chinese, Thai, ... are a word.
    columns
        Columns of a table, where their names are not among the usual ones.

    Returns
    -------
    The photos that can be used. What cannot be used is left out and listed among the problems. If
    some photos have a split, those without one are left out. The captions of a photo that is in
    several splits are put together.

    Raises
    ------
    InvalidDataset
        The source is in no known format or in several, or not in the one that was named.
    """
    source = Path(source)
    if format == "auto":
        format = "table" if columns else formats.recognise(source)
    listing = list(formats.read(source, format, columns))
    if not listing:
        raise InvalidDataset(f"{source} lists no photo in the format {format!r}")
    photos, problems = _judged(listing, max_words)
    return Dataset(tuple(photos), tuple(problems), format)


def _judged(
    listing: Iterable[Photo | Problem], max_words: int
) -> tuple[Iterable[Photo], list[Problem]]:
    """Return the photos that can be used, each once, and the problems of the others."""
    listing = list(listing)
    has_splits = any(isinstance(item, Photo) and item.splits for item in listing)
    photos: dict[str, Photo] = {}
    problems: list[Problem] = []
    for item in listing:
        if isinstance(item, Problem):
            problems.append(item)
            continue
        before = photos.get(item.name)
        if has_splits and not item.splits:
            problems.append(Problem(IN_NO_SPLIT, item.name))
        elif item.file is None:
            problems.append(Problem(MISSING, item.name, item.hint))
        elif before and set(item.splits) <= set(before.splits):
            problems.append(Problem(DUPLICATE, item.name))
        elif captions := _usable_captions(item, max_words, problems):
            photo = replace(item, captions=captions)
            if before:
                problems.append(Problem(IN_SEVERAL_SPLITS, item.name))
                photo = _put_together(before, photo)
            photos[item.name] = photo
    return _of_one_name_each(photos.values(), problems), problems


def _of_one_name_each(photos: Iterable[Photo], problems: list[Problem]) -> list[Photo]:
    """Return the photos whose files have no other name; add the others to ``problems``.

    Of several names of a file the one that is written as the file's counts. Where none is, such as
    ``a/1.jpg`` and ``b/1.jpg`` for the only ``1.jpg``, nobody knows whose captions are right.
    """
    names: dict[Any, list[str]] = defaultdict(list)
    for photo in photos:
        names[photo.file].append(photo.name)
    kept = []
    for photo in photos:
        same = names[photo.file]
        exact = [name for name in same if isinstance(photo.file, Path) and _ends(photo.file, name)]
        if len(same) == 1 or photo.name == next(iter(exact), None):
            kept.append(photo)
        else:
            others = ", ".join(name for name in same if name != photo.name)
            problems.append(Problem(DUPLICATE, photo.name, f"its file is that of {others}"))
    return kept


def _ends(file: Path, name: str) -> bool:
    """Return whether a path ends in a name, as it is written."""
    return f"/{composed(file.as_posix())}".endswith(f"/{name}")


def _put_together(one: Photo, other: Photo) -> Photo:
    """Return a photo with the captions, each once, and the splits of two rows."""
    captions = tuple(dict.fromkeys(one.captions + other.captions))
    return replace(other, captions=captions, splits=one.splits + other.splits)


def _usable_captions(photo: Photo, max_words: int, problems: list[Problem]) -> tuple[str, ...]:
    """Return the captions that can be used; add what is wrong with the others to ``problems``."""
    kept = []
    for text in photo.captions:
        count = count_words(tokenize(text))
        if count == 0:
            problems.append(Problem(EMPTY_CAPTION, photo.name))
        elif count > max_words:
            problems.append(Problem(LONG_CAPTION, photo.name, f"{count} words"))
        else:
            kept.append(text.strip())
    if not kept:
        problems.append(Problem(NO_CAPTION, photo.name))
    return tuple(kept)
