"""The setup that all parts of ``captioner bench serve`` share: a server, its load, the photos."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from benchmarks.known_photos import KnownPhotos, Selection
from benchmarks.load import Load
from benchmarks.server import BenchmarkServer
from model import Captioner, DecodingOptions

CLIENTS = (16, 64)
MAX_CLIENTS = max(CLIENTS)


@dataclass(frozen=True)
class Sizes(Selection):
    """The number of photos, and the lengths of the parts."""

    throughput: float = 4.0  # seconds of a run, about
    alone: int = 24  # requests of one client in a round
    overload: float = 60.0  # seconds
    kills: int = 10
    between: float = 1.5  # seconds without a fault before a worker is killed or the server stopped
    senders: int = 200  # that are slow, at a time
    slow: float = 60.0  # seconds in which they begin anew when they are dropped

    def requests(self, rate: float) -> int:
        """Return the requests of a run at this many photos a second, at least one a client."""
        return max(MAX_CLIENTS, round(rate * self.throughput))


QUICK = Sizes(
    photos=64,
    candidates=80,
    batches=2,
    throughput=1.0,
    alone=6,
    overload=5.0,
    kills=1,
    senders=20,
    slow=1.0,
)


@dataclass(frozen=True)
class Setup:
    """A started server and what is measured with it."""

    server: BenchmarkServer
    load: Load  # for that server
    captioner: Captioner  # the same checkpoint, in process
    decoding: DecodingOptions  # the server's
    photos: KnownPhotos
    sizes: Sizes
    rounds: int
    requests: int  # between two looks at the worker's memory
    reference: Setup | None = None  # another server beside it, that it is compared with

    @property
    def name(self) -> str:
        return self.server.name

    @property
    def servers(self) -> list[Setup]:
        """This server and the one that it is compared with, if there is one."""
        return [self, *([self.reference] if self.reference else [])]

    @property
    def run_size(self) -> int:
        """The number of photos in a run of throughput."""
        return self.sizes.requests(self.photos.rate)

    def in_process(self) -> Callable[[], object]:
        """Return a run that captions `run_size` photos in process, in batches."""
        photos = list(itertools.islice(itertools.cycle(self.photos.photos), self.run_size))
        return partial(self.captioner.caption, photos, self.decoding)

    def served(self, clients: int) -> Callable[[], object]:
        """Return a run that has as many photos captioned by the server."""
        return partial(self.load.send, self.run_size, clients)
