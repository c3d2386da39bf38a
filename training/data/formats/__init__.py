"""The formats that captioned photos come in: one module each, and the table of them.

To read another format, write a module with the three members of `Reader` and add it to `READERS`:
`captioner prepare`, `captioner evaluate`, their help and their errors take it from there.
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
    webdataset,
)
from training.data.formats.listing import Listing
from training.data.problems import InvalidDataset


class Reader(Protocol):
    """A module that reads one format; its docstring says how the format is laid out."""

    LAYOUT: str  # in a few words, for messages

    def recognises(self, source: Path) -> bool:
        """Return whether a file or folder looks like this format."""
        ...

    def read(self, source: Path) -> Listing:
        """Yield a photo, or a problem, for each thing that the source lists; judge none of them.

        Raises
        ------
        InvalidDataset
            The source as a whole cannot be read in this format.
        """
        ...


# By the names that --format takes. The first that recognises a source reads it.
READERS: dict[str, Reader] = {
    "coco": coco,
    "karpathy": karpathy,
    "kaggle": kaggle,
    "flickr8k-token": flickr8k_token,
    "imagefolder": imagefolder,
    "webdataset": webdataset,
}


def recognise(source: Path) -> str:
    """Return the name of a source's format; raises `InvalidDataset` if it is in none of them."""
    for name, reader in READERS.items():
        if reader.recognises(source):
            return name
    if not source.exists():
        raise InvalidDataset(f"{source} does not exist")
    known = "; ".join(f"{name}: {reader.LAYOUT}" for name, reader in READERS.items())
    raise InvalidDataset(f"{source} is in none of the known formats ({known})")
