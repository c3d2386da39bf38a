"""The one record of a photo, from the dataset that lists it to the batch that trains on it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from training.data.parquet_cells import ParquetCell


@dataclass(frozen=True)
class TarMember:
    """A file within an uncompressed tar, read in place."""

    path: Path  # of the tar
    offset: int  # bytes
    size: int  # bytes

    @property
    def place(self) -> tuple[int, int]:
        """Where the file lies in the tar."""
        return self.offset, self.size

    def read_bytes(self) -> bytes:
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            return file.read(self.size)


@dataclass(frozen=True)
class Photo:
    """A photo and everything people wrote about it.

    A reader in `training.data.formats` yields one for each row, `training.data.datasets.read`
    returns one for each photo, and a prepared folder holds one for each row of its pixels.
    """

    name: str  # in Unicode's composed form (NFC); unique in its dataset
    captions: tuple[str, ...]
    splits: tuple[str, ...] = ()  # some of SPLITS, in the source's order; () if it has no splits
    file: Path | TarMember | ParquetCell | None = None  # None: none, or its pixels are prepared
    hint: str = ""  # which file may be meant, if there is none

    def read_bytes(self) -> bytes:
        """Return the encoded photo, as its file holds it."""
        assert self.file is not None, f"{self.name} has no file"
        return self.file.read_bytes()

    def description(self) -> dict[str, Any]:
        """Return the entry of ``dataset.json`` in a prepared folder."""
        return {"name": self.name, "splits": self.splits, "captions": self.captions}

    @classmethod
    def from_description(cls, entry: dict[str, Any]) -> Self:
        """Return the photo of an entry; raises `KeyError` or `TypeError` for a damaged one."""
        return cls(entry["name"], tuple(entry["captions"]), tuple(entry["splits"]))
