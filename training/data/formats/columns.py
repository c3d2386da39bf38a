"""The columns of a table that hold photos, captions and splits, recognised by their names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from training.data.problems import InvalidDataset

# As data sets have them, case ignored and "File Name" read as "file_name"; the first counts.
PHOTO_COLUMNS = (
    *("image", "photo", "file_name", "filename", "image_name", "image_file", "image_path"),
    *("img", "img_path", "photo_path", "file_path", "path", "file", "image_id", "img_id"),
)
# Each also with a number behind it: caption_1, caption_2, ...
CAPTION_COLUMNS = (
    *("caption", "captions", "text", "sentence", "sentences", "description", "comment"),
    *("raw", "title"),
)
SPLIT_COLUMN, ERROR_COLUMN = "split", "error"


class UnknownColumns(InvalidDataset):
    """A table has no columns that hold photos and captions, or not those that a user named."""


@dataclass(frozen=True)
class ColumnChoice:
    """Names of columns that a user gives, where they are not to be recognised."""

    photo: str | None = None
    captions: Sequence[str] = ()

    def __bool__(self) -> bool:
        return bool(self.photo or self.captions)


RECOGNISED = ColumnChoice()


@dataclass(frozen=True)
class Columns:
    """The columns of one table, by their names as it has them."""

    photo: str
    captions: tuple[str, ...]
    split: str | None
    error: str | None  # what `captioner caption` writes for a photo that it could not caption

    @classmethod
    def among(cls, names: Sequence[str], choice: ColumnChoice, path: Path) -> Columns:
        """Return the columns of a table; raises `UnknownColumns` if one is missing or twice."""
        known = {name: _plain(name) for name in names}

        def first(wanted: Sequence[str]) -> str | None:
            return next((n for w in wanted for n, plain in known.items() if plain == w), None)

        photo = choice.photo or first(PHOTO_COLUMNS)
        captions = tuple(choice.captions) or _caption_columns(known)
        if photo is None or not captions:
            missing, option = ("photos", "image") if photo is None else ("captions", "caption")
            raise UnknownColumns(
                f"{path}: no column has a usual name of {missing}; name one with --{option}-column:"
                f" {_listed(names)}"
            )
        found = cls(photo, captions, first([SPLIT_COLUMN]), first([ERROR_COLUMN]))
        for name in filter(None, (photo, *captions, found.split, found.error)):
            if names.count(name) != 1:
                count = "twice" if name in names else "not"
                raise UnknownColumns(
                    f"{path}: the column {name!r} is {count} there: {_listed(names)}"
                )
        return found


def _caption_columns(known: dict[str, str]) -> tuple[str, ...]:
    """Return the column of captions, or those that are numbered."""
    for wanted in CAPTION_COLUMNS:
        pattern = re.compile(rf"{wanted}_?\d*")
        if found := tuple(name for name, plain in known.items() if pattern.fullmatch(plain)):
            return found
    return ()


def _plain(name: str) -> str:
    return re.sub(r"[\s-]+", "_", name.strip().casefold())


def _listed(names: Sequence[str]) -> str:
    """Return the names of the columns for a message, the first of very many."""
    return ", ".join(map(repr, names[:12])) + (", ..." if len(names) > 12 else "")
