"""The prepared folders that one training learns from together."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Self

from training.config import DataFolder
from training.data.photo import Photo
from training.data.prepared import Prepared
from training.data.problems import InvalidDataset
from training.data.splits import SPLITS
from training.data.taught import Taught


@dataclass(frozen=True)
class Part:
    """One prepared folder of a mixture."""

    name: str  # of the dataset; unique in its mixture
    prepared: Prepared
    repeats: float  # how often an epoch goes through its training photos
    taught: Taught | None = None  # what other captioners teach about it, if that is trained on

    @property
    def photos(self) -> list[Photo]:
        """The photos of all rows; those without captions have the ones that were found."""
        return self.taught.photos(self.prepared) if self.taught else [*self.prepared.photos]

    @property
    def digest(self) -> str:
        """A text that changes with the photos and with what is taught about them."""
        return " ".join([self.prepared.digest, *([self.taught.digest] if self.taught else [])])

    @property
    def counts(self) -> dict[str, int]:
        """The number of photos in each split that has some."""
        return {split: len(rows) for split, rows in self.prepared.splits.items()}


@dataclass(frozen=True)
class Mixture:
    """The prepared folders of a training, in the order in which they were given.

    A row of the mixture is a photo's place in all folders, one folder after the other. A mixture
    of one folder has the folder's own rows and names.
    """

    parts: tuple[Part, ...]

    @classmethod
    def open(cls, folders: Sequence[DataFolder], distillation: float = 0.0) -> Self:
        """Open prepared folders that have photos to train on and, if captioned, to validate on.

        Parameters
        ----------
        distillation
            See `TrainingConfig`: with more than 0 all folders must be taught. Folders whose photos
            nobody has captioned must be taught anyway.

        Raises
        ------
        InvalidDataset
            A folder is not prepared, not taught or lacks a split, none is captioned, two of them
            hold the same photos, or their photos have different sizes.
        """
        opened = [Prepared.open(folder.path) for folder in folders]
        for prepared in opened:
            for split in ("train", "val") if prepared.captioned else ("train",):
                prepared.rows(split)  # raises if there is none
        _require_captions(opened)
        _require_one_size(opened)
        _require_different(opened)
        names = _unique(prepared.source for prepared in opened)
        repeats = [folder.repeats for folder in folders]
        taught = [
            Taught.load(prepared) if distillation or not prepared.captioned else None
            for prepared in opened
        ]
        return cls(tuple(map(Part, names, opened, repeats, taught)))

    @property
    def captioned(self) -> Mixture:
        """The folders that people have captioned: they have words to know and photos to score."""
        return Mixture(tuple(part for part in self.parts if part.prepared.captioned))

    @property
    def several(self) -> bool:
        return len(self.parts) > 1

    @property
    def digest(self) -> str:
        """A text that changes with the photos, their order, and how often they are repeated."""
        return " ".join(
            part.digest + ("" if part.repeats == 1 else f"={part.repeats:g}") for part in self.parts
        )

    @cached_property
    def photos(self) -> list[Photo]:
        """The photos of all rows; those of several folders have the dataset before their name."""
        if not self.several:
            return self.parts[0].photos
        return [
            replace(photo, name=f"{part.name}/{photo.name}")
            for part in self.parts
            for photo in part.photos
        ]

    def rows(self, split: str) -> list[int]:
        """Return the rows of a split, folder after folder."""
        rows: list[int] = []
        start = 0
        for part in self.parts:
            rows += [start + row for row in part.prepared.splits.get(split, ())]
            start += len(part.prepared.photos)
        return rows

    @property
    def shares(self) -> list[tuple[int, float]]:
        """The number of training photos of each folder, and their repeats."""
        return [(part.counts["train"], part.repeats) for part in self.parts]

    def require_same(self, before: Sequence[tuple[str, str, float]], run: object) -> None:
        """Raise `ValueError` unless a training was begun with these folders.

        Parameters
        ----------
        before
            What `description` returned when it was begun.
        run
            Folder of the training, for the message.
        """
        now = self.description()
        if [tuple(of_photos) for _, *of_photos in before] == [entry[1:] for entry in now]:
            return
        digests = [digest for _, digest, _ in now]
        begun = [
            _entry(name, repeats) + _difference(digest, digests) for name, digest, repeats in before
        ]
        given = [_entry(name, repeats) for name, _, repeats in now]
        raise ValueError(
            f"{run} was begun with other data: {', '.join(begun)}; now --data names"
            f" {', '.join(given)}. Give the same folders in the same order, or choose another --run"
        )

    def description(self) -> list[tuple[str, str, float]]:
        """Return the name, digest and repeats of each folder."""
        return [(part.name, part.digest, part.repeats) for part in self.parts]

    def __str__(self) -> str:
        """Return the number of photos of each split, by dataset."""
        return "; ".join(
            f"{_entry(part.name, part.repeats)}: "
            + ", ".join(f"{part.counts[split]} {split}" for split in SPLITS if split in part.counts)
            for part in self.parts
        )


def _entry(name: str, repeats: float) -> str:
    return name if repeats == 1 else f"{name}={repeats:g}"


def _difference(digest: str, now: Sequence[str]) -> str:
    """Return a remark on a folder whose `Part.digest` is not among those of now."""
    if digest in now:
        return ""
    photos = {each.split()[0] for each in now}
    what = "taught as now" if digest.split()[0] in photos else "the same photos as now"
    return f" (not {what})"


def _require_captions(opened: Sequence[Prepared]) -> None:
    if not any(prepared.captioned for prepared in opened):
        raise InvalidDataset(
            f"{opened[0].folder} holds photos that nobody has captioned; a training also needs a"
            " folder with captions, for its words and its validation photos: add its --data"
        )


def _require_one_size(opened: Sequence[Prepared]) -> None:
    sizes = {prepared.image_size for prepared in opened}
    if len(sizes) > 1:
        listed = ", ".join(f"{prepared.folder}: {prepared.image_size}" for prepared in opened)
        raise InvalidDataset(
            f"the folders were prepared with different values of image_size ({listed}); prepare"
            " them again with one --image-size"
        )


def _require_different(opened: Sequence[Prepared]) -> None:
    folders: dict[str, Path] = {}
    for prepared in opened:
        if prepared.digest in folders:
            raise InvalidDataset(
                f"{folders[prepared.digest]} and {prepared.folder} hold the same photos; to repeat"
                f" a folder's photos, give it once, --data {prepared.folder}=2"
            )
        folders[prepared.digest] = prepared.folder


def _unique(names: Iterable[str]) -> list[str]:
    """Return the names, those that were there before with a number after them."""
    found: list[str] = []
    for name in names:
        numbered = (f"{name}-{n}" for n in itertools.count(2))
        found.append(next(n for n in itertools.chain([name], numbered) if n not in found))
    return found
