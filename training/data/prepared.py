"""A folder of photos that every process of a training maps into memory, and its files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from model.checkpoint import WEIGHTS
from training.data.photo import Photo
from training.data.problems import InvalidDataset
from training.data.splits import SPLITS

PIXELS, DESCRIPTION = "photos.npy", "dataset.json"
TAUGHT = "taught.npz"  # written by `captioner teach`, see `training.data.taught`
VERSION = 1  # of the folder's layout
AGAIN = "run `captioner prepare` again, into a new folder"


@dataclass(frozen=True)
class Prepared:
    """A folder that `prepare` has written: N photos, and their pixels in the same order.

    A row is a photo's place in that order. The object may be sent to other processes; all that
    they share is the file of pixels.
    """

    folder: Path
    photos: tuple[Photo, ...]
    image_size: int  # S, pixels
    digest: str  # of pixels, names, captions and splits
    source: str  # name of the file or folder it was made from

    @classmethod
    def open(cls, folder: str | Path) -> Prepared:
        """Open a prepared folder; no pixels are read yet.

        Raises
        ------
        InvalidDataset
            The folder is not prepared, or its files are damaged or do not fit each other.
        """
        folder = Path(folder)
        require_no_checkpoint(folder)
        if not (folder / DESCRIPTION).is_file():
            raise InvalidDataset(
                f"{folder} is no prepared dataset, it has no {DESCRIPTION}: make it, or finish it,"
                f" with `captioner prepare SOURCE --out {folder}`"
            )
        found = read_object(folder / DESCRIPTION)
        if found.get("version") != VERSION:
            raise InvalidDataset(
                f"{folder / DESCRIPTION} was not written by this `captioner prepare`; {AGAIN}"
            )
        try:
            photos = tuple(map(Photo.from_description, found["photos"]))
            prepared = cls(folder, photos, found["image_size"], found["digest"], found["source"])
            prepared._check_pixels()
        except (KeyError, TypeError) as error:
            raise InvalidDataset(f"{folder / DESCRIPTION}: {error!r}; {AGAIN}") from error
        except (OSError, ValueError) as error:
            raise InvalidDataset(f"{folder / PIXELS}: {error}; {AGAIN}") from error
        return prepared

    def _check_pixels(self) -> None:
        held, shape = self.pixels, (len(self.photos), 3, *[self.image_size] * 2)
        if held.shape != shape or held.dtype != np.uint8:
            raise ValueError(f"it holds {held.dtype} {held.shape}, not uint8 {shape}")

    @cached_property
    def pixels(self) -> np.memmap[Any, np.dtype[np.uint8]]:
        """RGB, uint8, shape = (N, 3, S, S), mapped read-only."""
        mapped: np.memmap[Any, np.dtype[np.uint8]] = np.load(self.folder / PIXELS, mmap_mode="r")
        return mapped

    @cached_property
    def splits(self) -> dict[str, list[int]]:
        """The rows of every split that has photos."""
        rows = {
            split: [row for row, photo in enumerate(self.photos) if split in photo.splits]
            for split in SPLITS
        }
        return {split: found for split, found in rows.items() if found}

    @property
    def captioned(self) -> bool:
        """Whether people have captioned the photos; either all or none of a folder."""
        return all(photo.captions for photo in self.photos)

    def rows(self, split: str) -> list[int]:
        """Return the rows of a split; raises `InvalidDataset` if it has none."""
        if split not in self.splits:
            raise InvalidDataset(
                f"{self.folder} has no split {split!r}; it has {', '.join(self.splits)}"
            )
        return self.splits[split]

    def captions(self, split: str) -> list[tuple[str, ...]]:
        """Return the captions of each of a split's photos."""
        return [self.photos[row].captions for row in self.rows(split)]

    def require_size(self, image_size: int) -> None:
        """Raise `InvalidDataset` unless the photos are of the size that a network takes."""
        if self.image_size != image_size:
            raise InvalidDataset(
                f"{self.folder} was prepared with image_size {self.image_size}, the network wants"
                f" {image_size}; prepare it again with --image-size {image_size}"
            )

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "pixels"}


def require_no_checkpoint(folder: Path) -> None:
    """Raise `InvalidDataset` for a checkpoint folder, which is given by mistake."""
    if (folder / WEIGHTS).is_file():
        raise InvalidDataset(f"{folder} is a checkpoint folder; --data takes captioned photos")


def read_object(path: Path) -> dict[str, Any]:
    """Return the JSON object of a file in a prepared folder; raises `InvalidDataset` for none."""
    try:
        found = json.loads(path.read_bytes())
        if not isinstance(found, dict):
            raise ValueError("it holds no object")
    except (OSError, ValueError) as error:
        raise InvalidDataset(f"{path} cannot be read: {error}; choose another folder") from error
    return found
