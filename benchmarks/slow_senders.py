"""Callers who begin a photo and never end it, and what that costs the other callers."""

from __future__ import annotations

import asyncio
import math
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

from benchmarks.load import OK
from benchmarks.measure import Timings, in_turn, ratio
from benchmarks.report import Line, Report
from benchmarks.serve_setup import CLIENTS, Setup

THRESHOLDS = {
    # Seconds: 10 of silence or of too few bytes, 2 in which what still comes of a refused body is
    # read, 1 between two looks at the connections, and as many for a machine that is busy.
    "dropped": 15.0,
    "throughput": 0.9,  # of that before, each as a share of in process
    "memory": 20.0,  # megabytes
}
PAUSE = 1.0  # seconds between two bytes
GIVE_UP = 60.0  # seconds for a sender to be dropped
HEAD = b"POST /predictions/captioner HTTP/1.1\r\nHost: localhost\r\n"
BODY = b"Content-Type: image/jpeg\r\nContent-Length: 1000000\r\n\r\n"
# How a sender begins, and what it sends of it every second.
KINDS = ((HEAD + b"X-Slow: ", b"x"), (HEAD + BODY + bytes(1000), b""), (HEAD + BODY, b"x"))


def slow_senders(setup: Setup) -> Report:
    """Let callers send slowly for a minute, while others ask as they did in the minute before."""
    runs = {"served": setup.served(min(CLIENTS)), "in process": setup.in_process()}
    in_turn(runs, 0)  # warms up
    before = _timed_for(runs, setup.sizes.slow)
    memory = setup.server.memory()
    kept = len(setup.load.replies)
    with sent_slowly(setup.server.port, setup.sizes.senders, setup.sizes.slow) as drops:
        meanwhile = _timed_for(runs, setup.sizes.slow)
    replies = setup.load.replies[kept:]
    setup.load.send(setup.run_size, min(CLIENTS))  # what is free is used before more is taken
    grown = (setup.server.memory() - memory) / 2**20
    speed = ratio_of(meanwhile) / ratio_of(before)
    lost = sum(reply.status != OK for reply in replies)
    print(
        f"{len(drops)} slow senders dropped after {statistics.median(drops):.1f} s, at most"
        f" {max(drops):.1f} s; memory {memory / 2**20:.0f} MB, {grown:+.1f} MB afterwards"
    )
    return Report(
        {"seconds_until_dropped": drops, "megabytes_more": grown, "seconds_meanwhile": meanwhile},
        [
            Line(
                f"slow senders, {setup.sizes.senders} at a time",
                max(drops),
                f"s until the last of {len(drops)} was dropped",
                at_most=THRESHOLDS["dropped"],
                digits=1,
            ),
            Line(
                "slow senders, others lost or failed",
                lost,
                f"of {len(replies)} requests",
                at_most=0,
                digits=0,
            ),
            Line(
                "slow senders, others meanwhile",
                speed,
                "of the share of in process before",
                at_least=THRESHOLDS["throughput"],
            ),
            Line(
                "slow senders, memory",
                grown,
                "MB more afterwards",
                at_most=THRESHOLDS["memory"],
                digits=1,
            ),
        ],
    )


def ratio_of(timings: Timings) -> float:
    return ratio(timings, "in process", "served")


def _timed_for(runs: Mapping[str, Callable[[], object]], seconds: float) -> Timings:
    """Time runs in turn until so many seconds are over, once at least."""
    timings: Timings = {name: [] for name in runs}
    end = time.perf_counter() + seconds
    while not timings["served"] or time.perf_counter() < end:
        for name, each in in_turn(runs, 1, warm_up=False).items():
            timings[name] += each
    return timings


@contextmanager
def sent_slowly(port: int, count: int, seconds: float) -> Iterator[list[float]]:
    """Let callers send slowly, in a thread of their own; each begins anew when it is dropped.

    Yields
    ------
    The seconds until each was dropped, complete after the block; infinite for one that was not.
    """
    drops: list[float] = []
    over = threading.Event()
    end = time.perf_counter() + seconds

    async def sender(place: int) -> None:
        await asyncio.sleep(PAUSE * place / count)
        begun = 0
        while begun == 0 or (time.perf_counter() < end and not over.is_set()):
            drops.append(await send_slowly(port, *KINDS[(place + begun) % len(KINDS)]))
            begun += 1

    async def senders() -> None:
        await asyncio.gather(*(sender(place) for place in range(count)))

    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(asyncio.run, senders())
        try:
            yield drops
        finally:
            over.set()
            sending.result()


async def send_slowly(port: int, start: bytes, more: bytes) -> float:
    """Begin a request and never end it; return the seconds until the server has closed it."""
    began = time.perf_counter()
    writer, dropped = None, None
    try:
        async with asyncio.timeout(GIVE_UP):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            dropped = asyncio.create_task(_until_closed(reader))
            writer.write(start)
            while not dropped.done():
                await asyncio.wait([dropped], timeout=PAUSE)
                writer.write(more)
    except TimeoutError:
        return math.inf
    except OSError:
        pass
    finally:
        if dropped:
            dropped.cancel()
        if writer:
            writer.close()
    return time.perf_counter() - began


async def _until_closed(reader: asyncio.StreamReader) -> None:
    with suppress(OSError):
        while await reader.read(1000):
            pass
