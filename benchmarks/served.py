"""A server of the checkpoint on free ports, and photos whose captions are known.

It is packaged into a temporary folder and stopped at the end.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import psutil
import requests

from benchmarks import material
from benchmarks.load import LOST
from captioner.operations.archive import Archive
from captioner.operations.package import package
from captioner.operations.ports import Ports
from captioner.operations.record import RecordedVersion, StoreRecord
from captioner.operations.store import Store
from captioner.operations.torchserve import START_SECONDS, Server
from model import Captioner, DecodingOptions


@dataclass(frozen=True)
class Choice:
    """Which photos are asked for."""

    photos: int = 128  # that are asked for in turn
    candidates: int = 192  # that these are chosen from
    batches: int = 4  # times each is captioned in company before


@dataclass(frozen=True)
class Photos:
    """Photos with the caption that each has alone in process, and what that costs.

    Parameters
    ----------
    left_out
        Photos whose caption depends on their company: words as likely as one another but for the
        rounding, which is another in batches of another size.
    rate
        Photos a second in batches, roughly.
    """

    photos: list[bytes]
    captions: list[str]
    left_out: int
    rate: float

    @property
    def different(self) -> int:
        return len(set(self.captions))


class Served:
    """A server of the checkpoint; stopped on leaving, whatever happened."""

    def __init__(self, folder: Path, checkpoint: Path) -> None:
        self.ports = Ports.find_free()
        self.server = Server(folder / "run")
        self.store = Store(folder / "store")
        self.archive = self.store.folder / "captioner.mar"
        digest = package(checkpoint, "1.0", self.archive)
        self.store.write_record(
            StoreRecord("1.0", versions={"1.0": RecordedVersion(self.archive.name, digest)})
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.stop()

    @property
    def config(self) -> dict[str, Any]:
        """The archive's model-config.yaml."""
        return Archive.open(self.archive).settings

    def start(self, photo: bytes) -> float:
        """Start it; the seconds until the first caption."""
        start = time.perf_counter()
        java = self.server.check_can_start(self.ports)
        with self.server.lock(self.store) as lock:
            self.server.start(java, self.store, self.ports, lock)
        url = f"http://127.0.0.1:{self.ports.inference}/predictions/captioner"
        self.server.wait_for_caption(url, photo, START_SECONDS)
        return time.perf_counter() - start

    def worker(self) -> psutil.Process:
        """The first of its workers.

        Raises
        ------
        RuntimeError
            This server has none.
        """
        url = f"http://127.0.0.1:{self.ports.management}/models/captioner"
        workers = requests.get(url, timeout=10).json()[0]["workers"]
        frontend = self.server.process()
        ours = {process.pid for process in frontend.children(recursive=True)} if frontend else set()
        pids = [worker["pid"] for worker in workers if worker["pid"] in ours]
        if not pids:
            raise RuntimeError(f"this server's worker is not among {workers}")
        return psutil.Process(pids[0])

    def kill_worker(self) -> float:
        """As the kernel does when memory runs out; when that was, by `time.perf_counter`."""
        worker = self.worker()
        now = time.perf_counter()
        worker.kill()
        return now


def choose(
    captioner: Captioner, decoding: DecodingOptions, folder: Path | None, choice: Choice
) -> Photos:
    """Photos whose caption is the same alone and in any company, told apart by it if possible.

    Raises
    ------
    ValueError
        There is no such photo.
    """
    # The same photo twice would only blur which is which.
    found = list(dict.fromkeys(material.photos(choice.candidates, folder)))
    alone = [texts(captioner, [photo], decoding)[0] for photo in found]
    same = [True] * len(found)
    random_order = random.Random(0)
    taken = 0.0
    for _ in range(choice.batches):
        for rows in random_batches(len(found), random_order):
            start = time.perf_counter()
            together = texts(captioner, [found[row] for row in rows], decoding)
            taken += time.perf_counter() - start
            for row, text in zip(rows, together, strict=True):
                same[row] &= text == alone[row]
    kept = [row for row in range(len(found)) if same[row]]
    if not kept:
        raise ValueError("no photo has the same caption alone and in a batch; take other photos")
    chosen = different_first(kept, alone)[: choice.photos]
    return Photos(
        [found[row] for row in chosen],
        [alone[row] for row in chosen],
        len(found) - len(kept),
        choice.batches * len(found) / taken,
    )


def texts(captioner: Captioner, photos: Sequence[bytes], decoding: DecodingOptions) -> list[str]:
    """The best caption of each."""
    return [captions[0].text for captions in captioner.caption(photos, decoding)]


def random_batches(count: int, order: random.Random, largest: int = 32) -> Iterator[list[int]]:
    """All positions in random order, in batches of random choice."""
    rows = list(range(count))
    order.shuffle(rows)
    while rows:
        size = order.randint(1, largest)
        yield rows[:size]
        rows = rows[size:]


def different_first(rows: Sequence[int], captions: Sequence[str]) -> list[int]:
    """One row of each caption before a second of any: who gets another's caption is then seen."""
    before: Counter[str] = Counter()
    turns = []
    for row in rows:
        turns.append((before[captions[row]], row))
        before[captions[row]] += 1
    return [row for _, row in sorted(turns)]


def told(statuses: Counter[int]) -> str:
    """How many got which answer."""
    names = {LOST: "lost"}
    return ", ".join(f"{count} {names.get(s, s)}" for s, count in sorted(statuses.items()))
