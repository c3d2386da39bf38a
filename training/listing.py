"""What a source of captioned photos lists: photos, and rows that cannot be read as such."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SPLITS = ("train", "val", "test")
# Other names of a split; "restval" is what Karpathy's COCO calls further training photos.
SPLIT_NAMES = {"restval": "train", "validation": "val", "valid": "val", "dev": "val"}

BAD_ROW = "row that cannot be read"
MISSING = "missing photo"
DUPLICATE = "photo listed twice"


class InvalidDataset(ValueError):
    """The source cannot be read as captioned photos; the message says what and where."""


@dataclass(frozen=True)
class TarMember:
    """A file within a tar that is not compressed, read in place."""

    path: Path
    offset: int  # bytes
    size: int  # bytes

    def read_bytes(self) -> bytes:
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            return file.read(self.size)


@dataclass(frozen=True)
class Entry:
    """A photo as its source lists it; ``None`` where there is no such photo or no split."""

    name: str
    photo: Path | TarMember | None
    captions: tuple[str, ...]
    split: str | None

    @classmethod
    def checked(cls, roots: list[Path], name: Any, captions: Any, split: Any) -> Entry:
        """Of a photo in the first of the folders that has it.

        Raises
        ------
        ValueError
            Something is what no row may hold.
        """
        if not isinstance(name, str) or not name:
            raise ValueError(f"the photo's name is {name!r}")
        if not isinstance(captions, list) or not all(isinstance(text, str) for text in captions):
            raise ValueError("its captions are not all text")
        split = SPLIT_NAMES.get(split, split) or None
        if split not in (None, *SPLITS):
            raise ValueError(f"split {split!r} is none of {', '.join(SPLITS)}")
        photo = next((root / name for root in roots if (root / name).is_file()), None)
        return cls(name, photo, tuple(captions), split)


@dataclass(frozen=True)
class Problem:
    """What is wrong with a photo or a row."""

    kind: str
    name: str
    detail: str = ""

    @classmethod
    def of_row(cls, where: str, error: Exception) -> Problem:
        """The error that came of reading a row."""
        reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        return cls(BAD_ROW, where, reason)

    def __str__(self) -> str:
        return f"{self.name} ({self.detail})" if self.detail else self.name


Listing = Iterator[Entry | Problem]
