"""Captioning over HTTP against the same in process; overload, killed workers, a new start.

The server is one of its own, see `Served`. The load shares its cores.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import signal
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch

from benchmarks.load import (
    BUSY,
    OK,
    Reply,
    Target,
    closed_loop,
    open_loop,
    percentile,
    wrong,
)
from benchmarks.measure import Times, in_turn, ratio, seconds
from benchmarks.report import Line, Options, Report
from benchmarks.served import Choice, Photos, Served, choose, told
from captioner.operations.torchserve import START_SECONDS
from model import Captioner, DecodingOptions

CLIENTS = (16, 64)
MANY = max(CLIENTS)
THRESHOLDS = {
    "throughput": 0.75,
    "latency": 10.0,  # milliseconds beyond SLOWER times the latency in process
    "p99 under overload": 20.0,  # seconds
    "throughput afterwards": 0.9,
    "back": 10.0,  # seconds
    "memory": 20.0,  # megabytes
}
SLOWER = 1.5
OVERLOAD = 2.0  # times what is served
GIVE_UP = 60.0  # seconds for a killed worker to be back


@dataclass(frozen=True)
class Sizes(Choice):
    """How many photos, and how long."""

    throughput: float = 4.0  # seconds a run takes about
    alone: int = 24  # requests of one client a round
    overload: float = 60.0  # seconds
    kills: int = 10
    between: float = 1.5  # seconds that all goes well before a worker is killed

    def requests(self, rate: float) -> int:
        """As many as a run takes, at this many photos a second; at least one of each client."""
        return max(MANY, round(rate * self.throughput))


QUICK = Sizes(photos=64, candidates=80, batches=2, throughput=1.0, alone=6, overload=5.0, kills=1)


@dataclass
class Seen:
    """Every reply of every load, and the photos in an order that goes on from load to load."""

    target: Target
    replies: list[Reply] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.photos: Iterator[int] = itertools.cycle(range(len(self.target.photos)))

    def ask(self, count: int, clients: int) -> list[Reply]:
        """Of so many clients together, each waiting for its answers."""
        photos = itertools.islice(self.photos, count)
        return self.add(asyncio.run(closed_loop(self.target, photos, clients)))

    def add(self, replies: list[Reply]) -> list[Reply]:
        self.replies += replies
        return replies


def bench(options: Options) -> Report:
    """Everything, on a server of its own."""
    sizes = QUICK if options.quick else Sizes()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the server is stopped then, too
    with (
        tempfile.TemporaryDirectory(prefix="captioner-bench-") as name,
        Served(Path(name), options.checkpoint) as served,
    ):
        config = served.config
        settings = config["handler"]
        decoding = DecodingOptions(**settings["decoding"])
        device = "cuda" if torch.cuda.is_available() else "cpu"  # as a worker chooses
        captioner = Captioner.load(options.checkpoint, device, settings["precision"])
        photos = choose(captioner, decoding, options.photos, sizes)
        print(
            f"{len(photos.photos)} photos with {photos.different} different captions;"
            f" {photos.left_out} left out whose caption depends on their company in a batch"
        )
        first = served.start(photos.photos[0])
        print(f"server started, first caption after {first:.1f} s")
        seen = Seen(Target(served.ports.inference, photos.photos))
        parts = [
            throughput(captioner, decoding, photos, seen, sizes, options.rounds),
            latency(captioner, decoding, photos, seen, sizes, options.rounds),
        ]
        requests_between = sizes.alone if options.quick else options.requests
        parts.append(memory(served, seen, requests_between))
        parts.append(overload(captioner, decoding, photos, seen, sizes))
        parts.append(killed_workers(served, seen, sizes, config["batchSize"]))
        parts.append(new_start(served, seen))
        parts.append(wrong_captions(seen.replies, photos))
    about = {name: config[name] for name in ("batchSize", "maxBatchDelay")}
    report = Report({"settings": about | settings, "seconds_to_first_caption": first})
    for part in parts:
        report.figures |= part.figures
        report.lines += part.lines
    return report


def throughput(
    captioner: Captioner,
    decoding: DecodingOptions,
    photos: Photos,
    seen: Seen,
    sizes: Sizes,
    rounds: int,
) -> Report:
    """Photos a second, served and in process, in turn and as many of them."""
    count = sizes.requests(photos.rate)
    batch = list(itertools.islice(itertools.cycle(photos.photos), count))
    runs = {f"{clients} clients": partial(seen.ask, count, clients) for clients in CLIENTS}
    times = in_turn({"in process": partial(captioner.caption, batch, decoding), **runs}, rounds)
    rates = {name: count / statistics.median(taken) for name, taken in times.items()}
    print(", ".join(f"{name} {rate:.1f}" for name, rate in rates.items()), "photos/s")
    return Report(
        {"photos_a_round": count, "photos_a_second": rates, "seconds": times},
        [
            Line(
                f"served, {name}",
                ratio(times, "in process", name),
                "of the photos a second in process",
                at_least=THRESHOLDS["throughput"],
            )
            for name in runs
        ],
    )


def latency(
    captioner: Captioner,
    decoding: DecodingOptions,
    photos: Photos,
    seen: Seen,
    sizes: Sizes,
    rounds: int,
) -> Report:
    """One photo at a time, served and in process, in turn."""
    some = photos.photos[: sizes.alone]
    times: Times = {"in process": [], "served": []}
    for _ in range(rounds):
        times["in process"] += [
            seconds(partial(captioner.caption, [photo], decoding)) for photo in some
        ]
        asked = asyncio.run(closed_loop(seen.target, iter(range(len(some))), 1))
        times["served"] += [reply.seconds for reply in seen.add(asked)]
    milliseconds = {name: 1e3 * statistics.median(each) for name, each in times.items()}
    print(", ".join(f"{name} {each:.1f}" for name, each in milliseconds.items()), "ms, one alone")
    beyond = milliseconds["served"] - SLOWER * milliseconds["in process"]
    return Report(
        {"milliseconds_alone": milliseconds},
        [
            Line(
                "one client, median latency",
                beyond,
                f"ms beyond {SLOWER:g} times in process",
                at_most=THRESHOLDS["latency"],
                digits=1,
            )
        ],
    )


def memory(served: Served, seen: Seen, count: int) -> Report:
    """How much more the worker holds after many requests; it has answered hundreds before."""
    worker = served.worker()
    before = worker.memory_info().rss
    seen.ask(count, MANY)
    grown = (worker.memory_info().rss - before) / 2**20
    print(f"worker's memory {before / 2**20:.0f} MB, {grown:+.1f} MB after {count} requests")
    return Report(
        {"megabytes": {"before": before / 2**20, "more": grown}, "requests_between": count},
        [
            Line(
                "memory",
                grown,
                f"MB more after {count} requests",
                at_most=THRESHOLDS["memory"],
                digits=1,
            )
        ],
    )


def overload(
    captioner: Captioner, decoding: DecodingOptions, photos: Photos, seen: Seen, sizes: Sizes
) -> Report:
    """Photos arrive twice as fast as they are served, whether or not the ones before are done."""
    count = sizes.requests(photos.rate)
    batch = list(itertools.islice(itertools.cycle(photos.photos), count))
    # In turn with the same in process: over minutes a shared machine's own speed changes.
    runs: dict[str, Callable[[], object]] = {
        "served": partial(seen.ask, count, MANY),
        "in process": partial(captioner.caption, batch, decoding),
    }
    times = in_turn(runs, 3)
    before = count / statistics.median(times["served"])
    arriving = OVERLOAD * before
    arrivals = itertools.islice(seen.photos, max(1, round(arriving * sizes.overload)))
    replies = seen.add(asyncio.run(open_loop(seen.target, arrivals, arriving)))
    times_after = in_turn(runs, 3, warm_up=False)  # at once
    after = count / statistics.median(times_after["served"])
    kept = ratio(times_after, "in process", "served") / ratio(times, "in process", "served")
    answered = Counter(reply.status for reply in replies)
    lost = len(replies) - answered[OK] - answered[BUSY]
    captioned = [reply.seconds for reply in replies if reply.status == OK]
    lasted = max(reply.end for reply in replies) - min(reply.start for reply in replies)
    p99 = percentile(captioned, 0.99) if captioned else math.inf
    meanwhile = answered[OK] / lasted
    print(
        f"overload, {arriving:.1f} photos/s for {sizes.overload:g} s: {told(answered)};"
        f" {before:.1f} photos/s served before, {meanwhile:.1f} meanwhile, {after:.1f} after"
    )
    return Report(
        {
            "overload": {
                "statuses": dict(answered),
                "seconds": {
                    "median": statistics.median(captioned) if captioned else None,
                    "p99": p99,
                    "busy p99": percentile([r.seconds for r in replies if r.status == BUSY], 0.99)
                    if answered[BUSY]
                    else None,
                },
                "photos_a_second": {"before": before, "meanwhile": meanwhile, "after": after},
            }
        },
        [
            Line(
                "overload, lost or failed", lost, f"of {len(replies)} requests", at_most=0, digits=0
            ),
            Line(
                "overload, p99 of the captions",
                p99,
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


@dataclass(frozen=True)
class Kill:
    """What one killed worker took with it."""

    failed: int  # requests that got a server's error, until the next kill
    back: float  # seconds until a photo that was sent after it had its caption


def killed_workers(served: Served, seen: Seen, sizes: Sizes, batch_size: int) -> Report:
    """Kill the worker again and again while many clients ask."""
    times, replies = asyncio.run(_kill(served, seen, sizes))
    seen.add(replies)
    kills = damage(replies, times)
    statuses = Counter(reply.status for reply in replies)
    others = len(replies) - statuses[OK] - sum(kill.failed for kill in kills)
    backs = ", ".join(f"{kill.back:.1f}" for kill in kills)
    print(f"worker killed {len(kills)} times: {told(statuses)}; back after {backs} s")
    return Report(
        {"kills": [vars(kill) for kill in kills], "kill_statuses": dict(statuses)},
        [
            Line(
                "kill -9, failed with the worker",
                max(kill.failed for kill in kills),
                "requests at most",
                at_most=batch_size,
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


async def _kill(served: Served, seen: Seen, sizes: Sizes) -> tuple[list[float], list[Reply]]:
    """When the worker was killed, and all replies of before, between and after."""
    replies: list[Reply] = []
    times: list[float] = []
    over = False
    photos = itertools.takewhile(lambda _: not over, seen.photos)
    load = asyncio.create_task(closed_loop(seen.target, photos, MANY, replies))
    try:
        await asyncio.sleep(sizes.between)
        for _ in range(sizes.kills):
            times.append(await asyncio.to_thread(served.kill_worker))
            await _until_back(replies, times[-1])
            await asyncio.sleep(sizes.between)
    finally:
        over = True
        await load
    return times, replies


async def _until_back(replies: Sequence[Reply], killed: float) -> None:
    """Return when a photo sent after the kill has its caption, or if that takes too long."""
    after = len(replies)
    while time.perf_counter() < killed + GIVE_UP:
        if any(reply.status == OK and reply.start > killed for reply in replies[after:]):
            return
        after = len(replies)
        await asyncio.sleep(0.05)


def damage(replies: Sequence[Reply], killed: Sequence[float]) -> list[Kill]:
    """What each kill cost; its replies are those that came before the next.

    Parameters
    ----------
    killed
        When, by `time.perf_counter`; rising.
    """
    kills = []
    for start, end in zip(killed, [*killed[1:], math.inf], strict=True):
        those = [reply for reply in replies if start <= reply.end < end]
        good = [reply.end for reply in those if reply.status == OK and reply.start > start]
        failed = sum(reply.status >= 500 for reply in those)
        kills.append(Kill(failed, min(good, default=math.inf) - start))
    return kills


def new_start(served: Served, seen: Seen) -> Report:
    """Stop the server and start it again."""
    served.server.stop()
    first = served.start(seen.target.photos[0])
    replies = seen.ask(2 * MANY, MANY)
    failed = sum(reply.status != OK for reply in replies)
    print(f"started again, first caption after {first:.1f} s")
    return Report(
        {"seconds_to_first_caption_again": first},
        [
            Line("started again, first caption", first, "s", at_most=START_SECONDS, digits=1),
            Line("started again, failed", failed, f"of {len(replies)}", at_most=0, digits=0),
        ],
    )


def wrong_captions(replies: Sequence[Reply], photos: Photos) -> Report:
    """Of all loads together; a caption that is another photo's tells that two were mixed up."""
    others = wrong(replies, photos.captions)
    examples = [
        {
            "caption": photos.captions[reply.photo],
            "served": reply.caption,
            "another's": reply.caption in photos.captions,
        }
        for reply in others[:10]
    ]
    for example in examples:
        print(f"wrong caption: {example}")
    captioned = sum(reply.status == OK for reply in replies)
    return Report(
        {
            "photos": len(photos.photos),
            "different_captions": photos.different,
            "photos_left_out": photos.left_out,
            "wrong_captions": examples,
        },
        [Line("wrong captions", len(others), f"of {captioned} served", at_most=0, digits=0)],
    )
