"""The formats that captioned photos come in: one module each, and the table of them.

To read another format, write a module with the three members of `Reader` and add it to `READERS`:
`captioner prepare`, `captioner evaluate`, their help and their errors take it from there. Photos
are found by `folders.PhotoFolders`, however their names are written.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from training.data.formats import (
    coco,
    flickr8k_token,
    imagefolder,
    kaggle,
    karpathy,
    sidecar,
    table,
    webdataset,
)
from training.data.formats.columns import ColumnChoice
from training.data.formats.listing import Listing
from training.data.problems import InvalidDataset


class Reader(Protocol):
    """A module that reads one format; its docstring says how the format is laid out."""

    LAYOUT: str  # in a few words, for messages

    def recognised_by(self, source: Path) -> list[Path]:
        """Return the files that show a source to be of this format; none if it is not."""
        ...

    def read(self, source: Path) -> Listing:
        """Yield a photo, or a problem, for each thing that the source lists; judge none of them.

        Raises
        ------
        InvalidDataset
            The source as a whole cannot be read in this format.
        """
        ...


# By the names that --format takes.
READERS: dict[str, Reader] = {
    "coco": coco,
    "karpathy": karpathy,
    "kaggle": kaggle,
    "flickr8k-token": flickr8k_token,
    "imagefolder": imagefolder,
    "webdataset": webdataset,
    "table": table,
    "sidecar": sidecar,
}


def recognise(source: Path) -> str:
    """Return the name of a source's format; raises `InvalidDataset` for none, or for several."""
    if not source.exists():
        raise InvalidDataset(f"{source} does not exist")
    signs = {name: reader.recognised_by(source) for name, reader in READERS.items()}
    found = {name: paths for name, paths in signs.items() if paths}
    if len(found) > 1:
        fitting = "; ".join(f"{name} ({_listed(paths)})" for name, paths in found.items())
        raise InvalidDataset(
            f"{source} fits several formats: {fitting}; choose with --format of captioner prepare,"
            " or move the other files elsewhere"
        )
    if not found:
        known = "; ".join(f"{name}: {reader.LAYOUT}" for name, reader in READERS.items())
        raise InvalidDataset(f"{source} is in none of the known formats ({known})")
    return next(iter(found))


def read(source: Path, format: str, choice: ColumnChoice) -> Listing:
    """Return the listing of a source; a choice of columns is for tables alone.

    Raises
    ------
    InvalidDataset
        There is no such format, or the source cannot be read in it.
    """
    if format not in READERS:
        allowed = ", ".join(("auto", *READERS))
        raise InvalidDataset(f"format is {format!r}; allowed: {allowed}")
    if choice and format != "table":
        raise InvalidDataset(f"columns are named, but {source} is read as {format}, not as a table")
    return table.read(source, choice) if choice else READERS[format].read(source)


def _listed(paths: list[Path]) -> str:
    """Return the names of files for a message, the first of many."""
    return ", ".join(path.name for path in paths[:3]) + (", ..." if len(paths) > 3 else "")
