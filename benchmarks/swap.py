"""Versions swapped and rolled back while many clients ask: who is lost, who gets what.

Odd versions are the checkpoint; even ones say the same in capitals, so that every caption tells
which version wrote it.
"""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import logging
import signal
import statistics
import tempfile
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from benchmarks.load import OK, Reply, Target, closed_loop, percentile
from benchmarks.report import Line, Options, Report
from benchmarks.served import Choice, Photos, Served, choose, told
from captioner.operations.archive import MANIFEST
from captioner.operations.deploy import deploy, rollback
from captioner.operations.package import package
from captioner.operations.target import ServerTarget
from model import Captioner, DecodingOptions, checkpoint
from model.word_map import SPECIAL, WordMap

CLIENTS, FEW = 32, 4  # few to see only whether it runs
EVERY = 5  # swaps, then a rollback
QUICK = Choice(photos=8, candidates=16, batches=1)


def bench(options: Options) -> Report:
    """Everything, on a server of its own."""
    choice, swaps, clients = (
        (QUICK, 2, FEW) if options.quick else (Choice(), options.swaps, CLIENTS)
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the server is stopped then, too
    with (
        tempfile.TemporaryDirectory(prefix="captioner-bench-") as name,
        Served(Path(name), options.checkpoint) as served,
    ):
        settings = served.config["handler"]
        device = "cuda" if torch.cuda.is_available() else "cpu"  # as a worker chooses
        captioner = Captioner.load(options.checkpoint, device, settings["precision"])
        photos = choose(captioner, DecodingOptions(**settings["decoding"]), options.photos, choice)
        capitals = Path(name) / "capitals"
        in_capitals(options.checkpoint, capitals)
        even = Path(name) / "even" / served.archive.name
        package(capitals, "0.0", even)
        served.start(photos.photos[0])
        target = Target(served.ports.inference, photos.photos)
        with asked_all_the_time(target, clients) as replies:
            taken, back = swap(served, even, swaps, Path(name) / "new" / served.archive.name)
    return judged(photos, replies, taken, back, clients)


def in_capitals(source: Path, target: Path) -> None:
    """A checkpoint that says the same in capitals."""
    network, word_map = checkpoint.load(source)
    ids = {w if w in SPECIAL else w.upper(): i for i, w in enumerate(word_map.words)}
    checkpoint.save(target, network, WordMap(ids), "")


def numbered(archive: bytes, version: str) -> bytes:
    """The archive as another version."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(archive)) as old,
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as new,
    ):
        for entry in old.infolist():
            content = old.read(entry)
            if entry.filename == MANIFEST:
                manifest = json.loads(content)
                manifest["model"]["modelVersion"] = version
                content = json.dumps(manifest).encode()
            new.writestr(entry, content)
    return buffer.getvalue()


@contextmanager
def asked_all_the_time(target: Target, clients: int) -> Iterator[list[Reply]]:
    """Clients of their own thread that ask without a pause; their replies as they come."""
    replies: list[Reply] = []
    over = threading.Event()
    turns = itertools.cycle(range(len(target.photos)))
    photos = itertools.takewhile(lambda _: not over.is_set(), turns)
    with ThreadPoolExecutor(1) as pool:
        load = pool.submit(asyncio.run, closed_loop(target, photos, clients, replies))
        try:
            yield replies
        finally:
            over.set()
            load.result()


def swap(served: Served, even: Path, swaps: int, new: Path) -> tuple[list[float], list[float]]:
    """Deploy versions 2, 3, ... and roll back after some of them; the seconds of each.

    Parameters
    ----------
    even
        Archive of what even versions are; odd ones are what is served already.
    new
        Where each version's archive is written before it is deployed.
    """
    sources = {0: even.read_bytes(), 1: served.archive.read_bytes()}
    new.parent.mkdir()
    address = "http://127.0.0.1:{}".format
    target = ServerTarget(
        address(served.ports.inference), address(served.ports.management), served.store.folder
    )
    log = logging.getLogger("captioner")
    level, taken, back = log.level, [], []
    log.setLevel(logging.WARNING)  # every deploy tells its steps
    try:
        for done in range(1, swaps + 1):
            version = done + 1
            new.write_bytes(numbered(sources[version % 2], f"{version}.0"))
            start = time.perf_counter()
            deploy(new, target)
            taken.append(time.perf_counter() - start)
            if done % EVERY == 0 or done == swaps < EVERY:
                start = time.perf_counter()
                rollback(target)
                back.append(time.perf_counter() - start)
            if done % 10 == 0 or done == swaps:
                print(f"{done} swaps, {len(back)} rollbacks", flush=True)
    finally:
        log.setLevel(level)
    return taken, back


def judged(
    photos: Photos,
    replies: Sequence[Reply],
    taken: Sequence[float],
    back: Sequence[float],
    clients: int,
) -> Report:
    """What became of the requests."""
    statuses = Counter(reply.status for reply in replies)
    failed = len(replies) - statuses[OK]
    captioned = [reply for reply in replies if reply.status == OK]
    others = [r for r in captioned if r.caption != wanted(photos, r)]
    versions = len({reply.version for reply in captioned})
    print(
        f"{told(statuses)}, by {versions} versions; a swap takes {statistics.median(taken):.1f} s,"
        f" a rollback {statistics.median(back):.2f} s"
    )
    for reply in others[:10]:
        print(f"wrong caption of {reply.version}: {reply.caption} for {wanted(photos, reply)}")
    figures: dict[str, Any] = {
        "clients": clients,
        "seconds": {"swaps": list(taken), "rollbacks": list(back)},
        "statuses": dict(statuses),
        "versions": versions,
        "seconds of a request": {
            "median": statistics.median(reply.seconds for reply in captioned),
            "p99": percentile([reply.seconds for reply in captioned], 0.99),
        },
    }
    swaps = f"{len(taken)} swaps and {len(back)} rollbacks"
    return Report(
        figures,
        [
            Line(
                f"{swaps}, lost or failed",
                failed,
                f"of {len(replies)} requests",
                at_most=0,
                digits=0,
            ),
            Line(
                f"{swaps}, wrong captions",
                len(others),
                f"of {len(captioned)} served",
                at_most=0,
                digits=0,
            ),
            Line(f"{swaps}, p99 of the captions", figures["seconds of a request"]["p99"], "s"),
        ],
    )


def wanted(photos: Photos, reply: Reply) -> str:
    """What the version that answered says of that photo."""
    plain = photos.captions[reply.photo]
    odd = int((reply.version or "0").partition(".")[0]) % 2
    return plain if odd else plain.upper()
