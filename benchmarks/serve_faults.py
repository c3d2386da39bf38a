"""The faults of ``captioner bench serve``: overload, killed workers, stops and restarts."""

from __future__ import annotations

import asyncio
import itertools
import math
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks.load import (
    BUSY,
    OK,
    REFUSED,
    Reply,
    closed_loop,
    count_by_status,
    described,
    open_loop,
    percentile,
)
from benchmarks.measure import in_turn, ratio
from benchmarks.report import Line, Report
from benchmarks.serve_setup import MAX_CLIENTS, Setup
from captioner.operations.torchserve import START_SECONDS

THRESHOLDS = {
    "p99 under overload": 20.0,  # seconds
    "throughput afterwards": 0.9,  # of that before, each as a share of in process
    "back": 10.0,  # seconds
}
OVERLOAD = 2.0  # times the photos a second that the server captions
ROUNDS = 3  # before the overload and after it
GIVE_UP = 60.0  # seconds for a killed worker to be back


def overload(setup: Setup) -> Report:
    """Send photos twice as fast as they are captioned, whether or not replies come."""
    # In turn with the same in process: within minutes the speed of a shared machine changes.
    runs = {"served": setup.served(MAX_CLIENTS), "in process": setup.in_process()}
    timings = in_turn(runs, ROUNDS)
    before = setup.run_size / statistics.median(timings["served"])
    arriving = OVERLOAD * before
    count = max(1, round(arriving * setup.sizes.overload))
    arrivals = itertools.islice(setup.load.photos, count)
    replies = setup.load.keep(asyncio.run(open_loop(setup.load.target, arrivals, arriving)))
    timings_after = in_turn(runs, ROUNDS, warm_up=False)  # right afterwards
    after = setup.run_size / statistics.median(timings_after["served"])
    kept = ratio(timings_after, "in process", "served") / ratio(timings, "in process", "served")
    lasted = max(reply.end for reply in replies) - min(reply.start for reply in replies)
    statuses = count_by_status(replies)
    rates = {"before": before, "meanwhile": statuses[OK] / lasted, "after": after}
    print(
        f"overload, {arriving:.1f} photos/s for {setup.sizes.overload:g} s: {described(statuses)};"
        f" {before:.1f} photos/s served before, {rates['meanwhile']:.1f} meanwhile,"
        f" {after:.1f} after"
    )
    seconds = _seconds(replies)
    lost = len(replies) - statuses[OK] - statuses[BUSY]
    return Report(
        {"overload": {"statuses": dict(statuses), "seconds": seconds, "photos_a_second": rates}},
        [
            Line(
                "overload, lost or failed", lost, f"of {len(replies)} requests", at_most=0, digits=0
            ),
            Line(
                "overload, p99 of the captions",
                seconds["p99"],
                "s",
                at_most=THRESHOLDS["p99 under overload"],
            ),
            Line(
                "after the overload",
                kept,
                "of the share of in process before",
                at_least=THRESHOLDS["throughput afterwards"],
            ),
        ],
    )


def _seconds(replies: Sequence[Reply]) -> dict[str, Any]:
    """Return the seconds of captions, median and 99th percentile, and of replies of 503."""
    captioned = [reply.seconds for reply in replies if reply.status == OK]
    busy = [reply.seconds for reply in replies if reply.status == BUSY]
    return {
        "median": statistics.median(captioned) if captioned else None,
        "p99": percentile(captioned, 0.99) if captioned else math.inf,
        "busy p99": percentile(busy, 0.99) if busy else None,
    }


@dataclass(frozen=True)
class Kill:
    """The cost of one killed worker."""

    failed: int  # requests that a server's error answered, until the next kill
    back: float  # seconds until a photo that was sent after the kill had its caption


def killed_workers(setup: Setup) -> Report:
    """Kill the worker again and again while many clients ask."""
    times, replies = asyncio.run(_kill(setup))
    setup.load.keep(replies)
    kills = cost_of_kills(replies, times)
    statuses = count_by_status(replies)
    others = len(replies) - statuses[OK] - sum(kill.failed for kill in kills)
    backs = ", ".join(f"{kill.back:.1f}" for kill in kills)
    print(f"worker killed {len(kills)} times: {described(statuses)}; back after {backs} s")
    return Report(
        {"kills": [vars(kill) for kill in kills], "kill_statuses": dict(statuses)},
        [
            Line(
                "kill -9, failed with the worker",
                max(kill.failed for kill in kills),
                "requests at most",
                at_most=setup.server.settings["batchSize"],
                digits=0,
            ),
            Line(
                "kill -9, lost or failed otherwise",
                others,
                f"of {len(replies)} requests",
                at_most=0,
                digits=0,
            ),
            Line(
                "kill -9, back after",
                max(kill.back for kill in kills),
                f"s, the slowest of {len(kills)}",
                at_most=THRESHOLDS["back"],
            ),
        ],
    )


async def _kill(setup: Setup) -> tuple[list[float], list[Reply]]:
    """Return when the worker was killed, and all replies before, between and after."""
    times: list[float] = []
    async with _under_load(setup) as replies:
        for _ in range(setup.sizes.kills):
            times.append(await asyncio.to_thread(setup.server.kill_worker))
            await _until_back(replies, times[-1])
            await asyncio.sleep(setup.sizes.between)
    return times, replies


@asynccontextmanager
async def _under_load(setup: Setup) -> AsyncIterator[list[Reply]]:
    """Send photos for the block and a while before; yield all replies, which go on coming."""
    replies: list[Reply] = []
    over = False
    photos = itertools.takewhile(lambda _: not over, setup.load.photos)
    load = asyncio.create_task(closed_loop(setup.load.target, photos, MAX_CLIENTS, replies))
    try:
        await asyncio.sleep(setup.sizes.between)
        yield replies
    finally:
        over = True
        await load


async def _until_back(replies: Sequence[Reply], killed: float) -> None:
    """Return when a photo sent after the kill has its caption, or after `GIVE_UP` seconds."""
    after = len(replies)
    while time.perf_counter() < killed + GIVE_UP:
        if any(reply.status == OK and reply.start > killed for reply in replies[after:]):
            return
        after = len(replies)
        await asyncio.sleep(0.05)


def cost_of_kills(replies: Sequence[Reply], killed: Sequence[float]) -> list[Kill]:
    """Return what each kill cost; a reply counts for the last kill before it.

    Parameters
    ----------
    killed
        When workers were killed, by `time.perf_counter`; rising.
    """
    kills = []
    for start, end in zip(killed, [*killed[1:], math.inf], strict=True):
        of_kill = [reply for reply in replies if start <= reply.end < end]
        good = [reply.end for reply in of_kill if reply.status == OK and reply.start > start]
        failed = sum(reply.status >= 500 for reply in of_kill)
        kills.append(Kill(failed, min(good, default=math.inf) - start))
    return kills


def restart(setup: Setup) -> Report:
    """Stop the server and start it again; send it some load."""
    setup.server.stop()
    first = setup.server.start(setup.photos.photos[0])
    replies = setup.load.send(2 * MAX_CLIENTS, MAX_CLIENTS)
    failed = sum(reply.status != OK for reply in replies)
    print(f"started again, first caption after {first:.1f} s")
    return Report(
        {"seconds_to_first_caption_again": first},
        [
            Line("started again, first caption", first, "s", at_most=START_SECONDS, digits=1),
            Line("started again, failed", failed, f"of {len(replies)}", at_most=0, digits=0),
        ],
    )


def stopped_under_load(setup: Setup) -> Report:
    """Stop the server while many clients ask; what was sent before it stopped must be answered.

    Requests that find nothing listening any more were not sent, so they are not lost.
    """
    status, replies = asyncio.run(_stop(setup))
    setup.load.keep(replies)
    setup.server.start(setup.photos.photos[0])
    statuses = count_by_status(replies)
    print(f"stopped under load: {described(statuses)}; exit status {status}")
    lost = len(replies) - statuses[OK] - statuses[REFUSED]
    sent = len(replies) - statuses[REFUSED]
    return Report(
        {"stop_statuses": dict(statuses), "exit_status": status},
        [
            Line(
                "SIGTERM under load, lost or failed",
                lost,
                f"of {sent} requests",
                at_most=0,
                digits=0,
            ),
            Line("SIGTERM under load, exit status", abs(status or 0), "", at_most=0, digits=0),
        ],
    )


async def _stop(setup: Setup) -> tuple[int | None, list[Reply]]:
    """Return the exit status of the server, and all replies before and after its stop."""
    async with _under_load(setup) as replies:
        status = await asyncio.to_thread(setup.server.stop)
    return status, replies
