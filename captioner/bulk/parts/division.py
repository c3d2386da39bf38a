"""A listing of photos, cut into parts of equal size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from typing import Self

from captioner.bulk.photo import Photo
from captioner.bulk.row import encodable


@dataclass(frozen=True)
class Division:
    """How a listing is cut into parts.

    Attributes
    ----------
    part_size
        The number of photos of each part but the last.
    photos
        The number of all photos.
    digests
        The SHA-256 digest of the names in each part.
    """

    part_size: int
    photos: int
    digests: tuple[bytes, ...]

    @classmethod
    def of(cls, photos: Iterable[Photo], part_size: int) -> Self:
        """Go through a listing once, and keep nothing of it but digests."""
        remaining, count, digests = iter(photos), 0, []
        while part := _name_digest(islice(remaining, part_size)):
            digests.append(part[0])
            count += part[1]
        return cls(part_size, count, tuple(digests))

    @property
    def parts(self) -> int:
        """The number of parts."""
        return len(self.digests)

    @property
    def digest(self) -> str:
        """The SHA-256 digest that stands for the names of all photos and their order."""
        return sha256(b"".join(self.digests)).hexdigest()

    def size_of(self, numbers: Iterable[int]) -> int:
        """Return the number of photos in some parts, which are counted from 0."""
        ends = ((number, number + 1) for number in numbers)
        size, photos = self.part_size, self.photos
        return sum(min(end * size, photos) - begin * size for begin, end in ends)


def _name_digest(photos: Iterable[Photo]) -> tuple[bytes, int] | None:
    """Return the digest of some photos' names, and their number; None if there is no photo."""
    names, count = sha256(), 0
    for photo in photos:
        names.update(_name_bytes(photo))
        count += 1
    return (names.digest(), count) if count else None


def _name_bytes(photo: Photo) -> bytes:
    """Return a photo's name as the digests of parts count it, with its end."""
    return encodable(photo.name).encode() + b"\0"


class PartReader:
    """Goes through a listing from part to part; a part before the last one begins it again."""

    def __init__(self, photos: Iterable[Photo], division: Division) -> None:
        self._listing, self._division = photos, division
        self._remaining = iter(photos)
        self._position = 0  # the number of photos that were taken from the listing

    def photos(self, number: int) -> Iterator[Photo]:
        """Yield the photos of a part.

        Raises
        ------
        ValueError
            After the last photo: they are not those of which the division was made.
        """
        start = number * self._division.part_size
        if start < self._position:
            self._remaining, self._position = iter(self._listing), 0
        for _ in self._take(start - self._position):
            pass
        names = sha256()
        for photo in self._take(self._division.part_size):
            names.update(_name_bytes(photo))
            yield photo
        if names.digest() != self._division.digests[number]:
            raise ValueError(
                f"the photos of part {number} are others than those that this run began with, or"
                " this machine lists them differently; the part is not written"
            )

    def _take(self, count: int) -> Iterator[Photo]:
        for photo in islice(self._remaining, count):
            self._position += 1
            yield photo
