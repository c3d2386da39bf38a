"""A folder of photos that every process of a training maps into memory, and its files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from model.checkpoint import WEIGHTS
from training.data.datasets import SPLITS, InvalidDataset

PHOTOS, DESCRIPTION = "photos.npy", "dataset.json"
VERSION = 1  # of the folder's layout


@dataclass(frozen=True)
class Prepared:
    """A folder that `prepare` has written: N photos and what belongs to them, in one order.

    It may be sent to other processes; all that they share is the file of photos.
    """

    folder: Path
    names: list[str]  # unique
    captions: list[tuple[str, ...]]
    splits: dict[str, list[int]]  # of every split that has photos, their places in the order
    image_size: int  # S, pixels
    digest: str  # of photos, names, captions and splits
    source: str  # name of the file or folder it was made from

    @classmethod
    def open(cls, folder: str | Path) -> Prepared:
        """Open a prepared folder; no photo is read yet.

        Raises
        ------
        InvalidDataset
            The folder is not prepared, or its files are damaged or do not fit each other.
        """
        folder = Path(folder)
        again = "run `captioner prepare` again, into a new folder"
        require_no_checkpoint(folder)
        if not (folder / DESCRIPTION).is_file():
            raise InvalidDataset(
                f"{folder} is no prepared dataset, it has no {DESCRIPTION}: make it, or finish it,"
                f" with `captioner prepare SOURCE --out {folder}`"
            )
        found = read_json(folder / DESCRIPTION)
        if found.get("version") != VERSION:
            raise InvalidDataset(
                f"{folder / DESCRIPTION} was not written by this `captioner prepare`; {again}"
            )
        try:
            photos = found["photos"]
            prepared = cls(
                folder,
                [photo["name"] for photo in photos],
                [tuple(photo["captions"]) for photo in photos],
                _places([photo["splits"] for photo in photos]),
                found["image_size"],
                found["digest"],
                found["source"],
            )
            held, shape = prepared.photos, (len(photos), 3, *[prepared.image_size] * 2)
            if held.shape != shape or held.dtype != np.uint8:
                raise ValueError(f"it holds {held.dtype} {held.shape}, not uint8 {shape}")
        except (KeyError, TypeError) as error:
            raise InvalidDataset(f"{folder / DESCRIPTION}: {error!r}; {again}") from error
        except (OSError, ValueError) as error:
            raise InvalidDataset(f"{folder / PHOTOS}: {error}; {again}") from error
        return prepared

    def rows(self, split: str) -> list[int]:
        """The places of a split's photos; raises `InvalidDataset` if it has none."""
        if split not in self.splits:
            raise InvalidDataset(
                f"{self.folder} has no split {split!r}; it has {', '.join(self.splits)}"
            )
        return self.splits[split]

    def require_size(self, image_size: int) -> None:
        """Raise `InvalidDataset` unless the photos are of the size that a network wants."""
        if self.image_size != image_size:
            raise InvalidDataset(
                f"{self.folder} was prepared with image_size {self.image_size}, the network wants"
                f" {image_size}; prepare it again with --image-size {image_size}"
            )

    @cached_property
    def photos(self) -> np.memmap[Any, np.dtype[np.uint8]]:
        """RGB, uint8, shape = (N, 3, S, S), mapped read-only."""
        mapped: np.memmap[Any, np.dtype[np.uint8]] = np.load(self.folder / PHOTOS, mmap_mode="r")
        return mapped

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "photos"}


def require_no_checkpoint(folder: Path) -> None:
    """Raise `InvalidDataset` for a checkpoint folder, which is given by mistake."""
    if (folder / WEIGHTS).is_file():
        raise InvalidDataset(f"{folder} is a checkpoint folder; --data takes captioned photos")


def read_json(path: Path) -> dict[str, Any]:
    """The object that a file of a prepared folder holds; `InvalidDataset` if it holds none."""
    try:
        found = json.loads(path.read_bytes())
        if not isinstance(found, dict):
            raise ValueError("it holds no object")
    except (OSError, ValueError) as error:
        raise InvalidDataset(f"{path} cannot be read: {error}; choose another folder") from error
    return found


def _places(splits: list[list[str]]) -> dict[str, list[int]]:
    places = {split: [i for i, of in enumerate(splits) if split in of] for split in SPLITS}
    return {split: found for split, found in places.items() if found}
