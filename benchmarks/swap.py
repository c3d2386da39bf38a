"""``captioner bench swap``: versions swapped and rolled back while many clients ask.

Odd versions are the checkpoint; even ones write the same captions in capitals, so that every
caption shows which version wrote it.
"""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import logging
import statistics
import threading
import time
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from benchmarks.known_photos import KnownPhotos, Selection, select_photos
from benchmarks.load import OK, Reply, Target, closed_loop, count_by_status, described, percentile
from benchmarks.options import Options
from benchmarks.report import Line, Report
from benchmarks.server import TorchServeServer, benchmark_server
from captioner.operations.archive import MANIFEST
from captioner.operations.deploy import deploy, rollback
from captioner.operations.package import package
from captioner.operations.target import ServerTarget
from model import checkpoint
from model.word_map import SPECIAL, WordMap

CLIENTS, QUICK_CLIENTS = 32, 4
ROLLBACK_EVERY = 5  # swaps
QUICK_SWAPS = 2
QUICK = Selection(photos=8, candidates=16, batches=1)


def bench(options: Options) -> Report:
    """Swap versions of a server while it is asked without a pause."""
    selection, swaps, clients = (
        (QUICK, QUICK_SWAPS, QUICK_CLIENTS)
        if options.quick
        else (Selection(), options.swaps, CLIENTS)
    )
    with benchmark_server(TorchServeServer, options.checkpoint) as (server, folder):
        photos = select_photos(*server.load_in_process(), options.photos, selection)
        write_in_capitals(options.checkpoint, folder / "capitals")
        even = folder / "even" / server.archive.name
        package(folder / "capitals", "0.0", even)
        server.start(photos.photos[0])
        target = Target(server.ports.inference, photos.photos)
        with asked_without_pause(target, clients) as replies:
            swapping, rolling_back = swap(server, even, swaps, folder / "new" / server.archive.name)
    return judge(photos, replies, swapping, rolling_back, clients)


def write_in_capitals(source: Path, target: Path) -> None:
    """Write a checkpoint that generates the captions of another one in capitals."""
    network, word_map = checkpoint.load(source)
    ids = {w if w in SPECIAL else w.upper(): i for i, w in enumerate(word_map.words)}
    checkpoint.save(target, network, WordMap(ids), "")


def with_version(archive: bytes, version: str) -> bytes:
    """Return an archive with another version in its manifest."""
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
def asked_without_pause(target: Target, clients: int) -> Iterator[list[Reply]]:
    """Let clients ask, in a thread of their own, until the end; yield the growing replies."""
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


def swap(
    server: TorchServeServer, even: Path, swaps: int, new: Path
) -> tuple[list[float], list[float]]:
    """Deploy versions 2, 3, ... and roll back after some of them.

    Parameters
    ----------
    even
        The archive of even versions; odd ones are the archive that the server started with.
    new
        Where each version's archive is written before it is deployed.

    Returns
    -------
    The seconds of each deploy, and of each rollback.
    """
    sources = {0: even.read_bytes(), 1: server.archive.read_bytes()}
    new.parent.mkdir()
    address = "http://127.0.0.1:{}".format
    target = ServerTarget(
        address(server.ports.inference), address(server.ports.management), server.store.folder
    )
    log = logging.getLogger("captioner")
    level, swapping, rolling_back = log.level, [], []
    log.setLevel(logging.WARNING)  # every deploy logs its steps
    try:
        for done in range(1, swaps + 1):
            version = done + 1
            new.write_bytes(with_version(sources[version % 2], f"{version}.0"))
            start = time.perf_counter()
            deploy(new, target)
            swapping.append(time.perf_counter() - start)
            if done % ROLLBACK_EVERY == 0 or done == swaps < ROLLBACK_EVERY:
                start = time.perf_counter()
                rollback(target)
                rolling_back.append(time.perf_counter() - start)
            if done % 10 == 0 or done == swaps:
                print(f"{done} swaps, {len(rolling_back)} rollbacks", flush=True)
    finally:
        log.setLevel(level)
    return swapping, rolling_back


def judge(
    photos: KnownPhotos,
    replies: Sequence[Reply],
    swapping: Sequence[float],
    rolling_back: Sequence[float],
    clients: int,
) -> Report:
    """Count the requests that were lost or failed, and the captions that are wrong.

    Parameters
    ----------
    swapping, rolling_back
        Seconds of each deploy and of each rollback.
    """
    statuses = count_by_status(replies)
    captioned = [reply for reply in replies if reply.status == OK]
    wrong = [reply for reply in captioned if reply.caption != expected_caption(photos, reply)]
    versions = len({reply.version for reply in captioned})
    print(
        f"{described(statuses)}, by {versions} versions; a swap takes"
        f" {statistics.median(swapping):.1f} s, a rollback {statistics.median(rolling_back):.2f} s"
    )
    for reply in wrong[:10]:
        expected = expected_caption(photos, reply)
        print(f"wrong caption of {reply.version}: {reply.caption} instead of {expected}")
    seconds = [reply.seconds for reply in captioned]
    p99 = percentile(seconds, 0.99)
    swaps = f"{len(swapping)} swaps and {len(rolling_back)} rollbacks"
    failed = len(replies) - len(captioned)
    return Report(
        {
            "clients": clients,
            "seconds": {"swaps": list(swapping), "rollbacks": list(rolling_back)},
            "statuses": dict(statuses),
            "versions": versions,
            "seconds of a request": {"median": statistics.median(seconds), "p99": p99},
        },
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
                len(wrong),
                f"of {len(captioned)} served",
                at_most=0,
                digits=0,
            ),
            Line(f"{swaps}, p99 of the captions", p99, "s"),
        ],
    )


def expected_caption(photos: KnownPhotos, reply: Reply) -> str:
    """Return the caption that the version which replied has for that photo."""
    plain = photos.captions[reply.photo]
    odd = int((reply.version or "0").partition(".")[0]) % 2
    return plain if odd else plain.upper()
