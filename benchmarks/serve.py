"""``captioner bench serve``: captioning over HTTP against the same in process, and faults.

The server is one of its own, see `benchmarks.server`; the load that it gets shares its cores.
Here are throughput, latency, memory and the check of all replies; the rest is in
`benchmarks.serve_faults`.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Sequence
from functools import partial

from benchmarks.known_photos import KnownPhotos, select_photos
from benchmarks.load import OK, Load, Reply, Target, closed_loop, wrong_replies
from benchmarks.measure import Timings, in_turn, ratio, time_of
from benchmarks.options import Options
from benchmarks.report import Line, Report
from benchmarks.serve_faults import killed_workers, overload, restart
from benchmarks.serve_setup import CLIENTS, MAX_CLIENTS, QUICK, Setup, Sizes
from benchmarks.server import benchmark_server

THRESHOLDS = {
    "throughput": 0.75,  # of the photos a second in process
    "latency": 10.0,  # milliseconds beyond SLOWER times the latency in process
    "memory": 20.0,  # megabytes
}
SLOWER = 1.5


def bench(options: Options) -> Report:
    """Run all parts on one server, one after the other."""
    sizes = QUICK if options.quick else Sizes()
    with benchmark_server(options.checkpoint) as (server, _):
        captioner, decoding = server.load_in_process()
        photos = select_photos(captioner, decoding, options.photos, sizes)
        print(
            f"{len(photos.photos)} photos with {photos.different} different captions;"
            f" {photos.left_out} left out whose caption depends on the composition of the batch"
        )
        first = server.start(photos.photos[0])
        print(f"server started, first caption after {first:.1f} s")
        load = Load(Target(server.ports.inference, photos.photos))
        setup = Setup(server, load, captioner, decoding, photos, sizes, options.rounds)
        settings = server.settings
        report = Report(
            {
                "settings": {name: settings[name] for name in ("batchSize", "maxBatchDelay")}
                | settings["handler"],
                "seconds_to_first_caption": first,
            }
        )
        report.add(throughput(setup))
        report.add(latency(setup))
        report.add(memory(setup, sizes.alone if options.quick else options.requests))
        report.add(overload(setup))
        report.add(killed_workers(setup, settings["batchSize"]))
        report.add(restart(setup))
        report.add(wrong_captions(load.replies, photos))
    return report


def throughput(setup: Setup) -> Report:
    """Compare the photos a second of many clients with those in process, in turn."""
    runs = {f"{clients} clients": setup.served(clients) for clients in CLIENTS}
    timings = in_turn({"in process": setup.in_process(), **runs}, setup.rounds)
    count = setup.run_size
    rates = {name: count / statistics.median(seconds) for name, seconds in timings.items()}
    print(", ".join(f"{name} {rate:.1f}" for name, rate in rates.items()), "photos/s")
    return Report(
        {"photos_a_round": count, "photos_a_second": rates, "seconds": timings},
        [
            Line(
                f"served, {name}",
                ratio(timings, "in process", name),
                "of the photos a second in process",
                at_least=THRESHOLDS["throughput"],
            )
            for name in runs
        ],
    )


def latency(setup: Setup) -> Report:
    """Compare the milliseconds of one photo at a time with those in process, in turn."""
    photos = setup.photos.photos[: setup.sizes.alone]
    timings: Timings = {"in process": [], "served": []}
    for _ in range(setup.rounds):
        timings["in process"] += [
            time_of(partial(setup.captioner.caption, [photo], setup.decoding)) for photo in photos
        ]
        replies = asyncio.run(closed_loop(setup.load.target, iter(range(len(photos))), 1))
        timings["served"] += [reply.seconds for reply in setup.load.keep(replies)]
    milliseconds = {name: 1e3 * statistics.median(each) for name, each in timings.items()}
    print(
        ", ".join(f"{name} {each:.1f}" for name, each in milliseconds.items()),
        "ms, one photo at a time",
    )
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


def memory(setup: Setup, count: int) -> Report:
    """Measure by how much the worker's memory grows in so many requests.

    The worker has answered hundreds of requests before, so what it allocates once is there.
    """
    worker = setup.server.worker()
    before = worker.memory_info().rss
    setup.load.send(count, MAX_CLIENTS)
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


def wrong_captions(replies: Sequence[Reply], photos: KnownPhotos) -> Report:
    """Count the replies, of all loads, whose caption is not the photo's.

    A caption that is another photo's shows that two requests were mixed up.
    """
    wrong = wrong_replies(replies, photos.captions)
    examples = [
        {
            "caption": photos.captions[reply.photo],
            "served": reply.caption,
            "another's": reply.caption in photos.captions,
        }
        for reply in wrong[:10]
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
        [Line("wrong captions", len(wrong), f"of {captioned} served", at_most=0, digits=0)],
    )
