"""``captioner bench serve``: captioning over HTTP against the same in process, and faults.

The server is one of its own, see `benchmarks.server`; the load that it gets shares its cores.
``captioner web`` is compared with a TorchServe that runs beside it. Here are throughput, latency,
memory and the check of all replies; `PARTS` names the modules of the rest.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from benchmarks.first_caption import first_caption
from benchmarks.known_photos import KnownPhotos, select_photos
from benchmarks.load import OK, Load, Reply, Target, closed_loop, wrong_replies
from benchmarks.measure import Timings, in_turn, ratio, time_of
from benchmarks.options import Options
from benchmarks.parts import Part, run_parts, select_parts
from benchmarks.report import Line, Report
from benchmarks.serve_faults import killed_workers, overload, restart, stopped_under_load
from benchmarks.serve_setup import CLIENTS, MAX_CLIENTS, QUICK, Setup, Sizes
from benchmarks.server import SERVER_TYPES, BenchmarkServer, TorchServeServer, benchmark_server
from benchmarks.slow_senders import slow_senders

THRESHOLDS = {
    "throughput": 0.75,  # of the photos a second in process
    "latency": 10.0,  # milliseconds beyond SLOWER times the latency in process
    "memory": 20.0,  # megabytes
    "throughput, of the other server": 1.0,
    "latency, of the other server": 1.0,
}
SLOWER = 1.5
IN_PROCESS = "in process"


def bench(options: Options) -> Report:
    """Run the parts on one server, one after the other.

    Raises
    ------
    ValueError
        There is no such type of server, or no such part for it.
    """
    server_type = _server_type(options.server_type)
    parts = PARTS if server_type is TorchServeServer else PARTS | WEB_PARTS
    parts = select_parts(options.only, parts, server_type.name)
    sizes = QUICK if options.quick else Sizes()
    with ExitStack() as stack:
        server, _ = stack.enter_context(benchmark_server(server_type, options.checkpoint))
        captioner, decoding = server.load_in_process()
        photos = select_photos(captioner, decoding, options.photos, sizes)
        print(
            f"{len(photos.photos)} photos with {photos.different} different captions;"
            f" {photos.left_out} left out whose caption depends on the composition of the batch"
        )
        load = Load(Target(server.port, photos.photos))
        requests = sizes.alone if options.quick else options.requests
        setup = Setup(server, load, captioner, decoding, photos, sizes, options.rounds, requests)
        report = _started(setup)
        if server_type is not TorchServeServer:
            other, _ = stack.enter_context(benchmark_server(TorchServeServer, options.checkpoint))
            other_load = Load(Target(other.port, photos.photos))
            setup = replace(setup, reference=replace(setup, server=other, load=other_load))
            other.start(photos.photos[0])
        report.add(run_parts(parts, setup))
        report.add(wrong_captions(load.replies, photos))
    return report


def _server_type(name: str) -> type[BenchmarkServer]:
    if name not in SERVER_TYPES:
        raise ValueError(f"--server-type is {name!r}; it must be one of {', '.join(SERVER_TYPES)}")
    return SERVER_TYPES[name]


def _started(setup: Setup) -> Report:
    """Start the server; return how long it took and what its settings are."""
    first = setup.server.start(setup.photos.photos[0])
    print(f"{setup.name} started, first caption after {first:.1f} s")
    settings = setup.server.settings
    return Report(
        {
            "server": setup.name,
            "settings": {name: settings[name] for name in ("batchSize", "maxBatchDelay")}
            | settings["handler"],
            "seconds_to_first_caption": first,
        }
    )


def throughput(setup: Setup) -> Report:
    """Compare the photos a second of many clients with those in process, in turn."""
    runs = {IN_PROCESS: setup.in_process()}
    for clients in CLIENTS:
        for each in setup.servers:
            runs[_with_clients(each, clients)] = each.served(clients)
    timings = in_turn(runs, setup.rounds)
    count = setup.run_size
    rates = {name: count / statistics.median(seconds) for name, seconds in timings.items()}
    print(", ".join(f"{name} {rate:.1f}" for name, rate in rates.items()), "photos/s")
    return Report(
        {"photos_a_round": count, "photos_a_second": rates, "seconds": timings},
        [*_throughput_lines(setup, timings)],
    )


def _with_clients(setup: Setup, clients: int) -> str:
    return f"{setup.name}, {clients} clients"


def _throughput_lines(setup: Setup, timings: Timings) -> Iterator[Line]:
    for clients in CLIENTS:
        served = _with_clients(setup, clients)
        yield Line(
            f"served, {clients} clients",
            ratio(timings, IN_PROCESS, served),
            "of the photos a second in process",
            at_least=THRESHOLDS["throughput"],
        )
        if setup.reference:
            yield Line(
                f"served, {clients} clients",
                ratio(timings, _with_clients(setup.reference, clients), served),
                f"of the photos a second of {setup.reference.name}",
                at_least=THRESHOLDS["throughput, of the other server"],
            )


def latency(setup: Setup) -> Report:
    """Compare the milliseconds of one photo at a time with those in process, in turn."""
    photos = setup.photos.photos[: setup.sizes.alone]
    timings: Timings = {name: [] for name in (IN_PROCESS, *(each.name for each in setup.servers))}
    for _ in range(setup.rounds):
        timings[IN_PROCESS] += [
            time_of(partial(setup.captioner.caption, [photo], setup.decoding)) for photo in photos
        ]
        for each in setup.servers:
            replies = asyncio.run(closed_loop(each.load.target, iter(range(len(photos))), 1))
            timings[each.name] += [reply.seconds for reply in each.load.keep(replies)]
    milliseconds = {name: 1e3 * statistics.median(each) for name, each in timings.items()}
    print(
        ", ".join(f"{name} {each:.1f}" for name, each in milliseconds.items()),
        "ms, one photo at a time",
    )
    return Report({"milliseconds_alone": milliseconds}, [*_latency_lines(setup, milliseconds)])


def _latency_lines(setup: Setup, milliseconds: Mapping[str, float]) -> Iterator[Line]:
    yield Line(
        "one client, median latency",
        milliseconds[setup.name] - SLOWER * milliseconds[IN_PROCESS],
        f"ms beyond {SLOWER:g} times in process",
        at_most=THRESHOLDS["latency"],
        digits=1,
    )
    if setup.reference:
        yield Line(
            "one client, median latency",
            milliseconds[setup.name] / milliseconds[setup.reference.name],
            f"of the latency of {setup.reference.name}",
            at_most=THRESHOLDS["latency, of the other server"],
        )


def memory(setup: Setup) -> Report:
    """Measure by how much the worker's memory grows in many requests.

    The worker has answered hundreds of requests before, so what it allocates once is there.
    """
    worker, count = setup.server.worker(), setup.requests
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


PARTS: dict[str, Part[Setup]] = {
    "throughput": throughput,
    "latency": latency,
    "memory": memory,
    "overload": overload,
    "kill": killed_workers,
    "restart": restart,
}
WEB_PARTS: dict[str, Part[Setup]] = {
    "stop": stopped_under_load,
    "slow": slow_senders,
    "start": first_caption,
}
