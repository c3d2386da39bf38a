"""Captioning all photos of a listing into a sink, as one stream."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from captioner.bulk.engines import Engine
from captioner.bulk.photo import Photo
from captioner.bulk.reading import read_ahead
from captioner.bulk.row import Row


class Sink(Protocol):
    """Something that takes rows."""

    def unwritten(self, photos: Iterable[Photo]) -> Iterator[Photo]:
        """Yield those of all photos that are still to be captioned, in their order.

        Raises
        ------
        ValueError
            The photos are not those of which the sink has rows already.
        """

    def write(self, row: Row) -> None:
        """Take the row of the next photo that `unwritten` yielded."""

    def flush(self) -> None:
        """Have all rows that were written so far survive what comes."""

    def finish(self) -> Counts:
        """Make what was written final, and return the counts of all its rows."""


@dataclass
class Counts:
    """The number of photos, and of those that could not be captioned."""

    photos: int = 0
    failures: int = 0

    def add(self, failed: bool) -> None:
        """Count one photo more."""
        self.photos += 1
        self.failures += failed


Progress = Callable[[Iterator[Row]], Iterator[Row]]


def caption_all(
    photos: Iterable[Photo], engine: Engine, sink: Sink, progress: Progress = iter
) -> Counts:
    """Caption photos and write their rows in order; few photos are in memory at a time.

    Parameters
    ----------
    progress
        Passes the rows on, and shows how many have passed.
    """
    rows = engine.rows(read_ahead(sink.unwritten(photos)))
    for row in progress(rows):
        sink.write(row)
    return sink.finish()
