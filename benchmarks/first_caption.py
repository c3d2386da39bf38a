"""The seconds from the command that serves a checkpoint to the first caption, of two servers."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.measure import Timings, ratio
from benchmarks.report import Line, Report
from benchmarks.serve_setup import Setup
from benchmarks.served_command import ServedCommand
from benchmarks.server import PREDICTIONS, BenchmarkServer
from captioner.operations.ports import Ports

THRESHOLD = 0.6  # of the seconds of the other server


def first_caption(setup: Setup) -> Report:
    """Run the commands in turn, each in a folder of its own; servers that run go on, idle."""
    servers = {each.name: each.server for each in setup.servers}
    timings: Timings = {name: [] for name in servers}
    for _ in range(setup.rounds):
        for name, server in servers.items():
            timings[name].append(seconds_to_first_caption(server, setup.photos.photos[0]))
    seconds = {name: statistics.median(each) for name, each in timings.items()}
    print(", ".join(f"{name} {each:.1f}" for name, each in seconds.items()), "s to a first caption")
    lines = []
    if other := setup.reference:
        lines = [
            Line(
                "first caption after the command",
                ratio(timings, setup.name, other.name),
                f"of the seconds of {other.name}",
                at_most=THRESHOLD,
            )
        ]
    return Report({"seconds_from_command": timings}, lines)


def seconds_to_first_caption(server: BenchmarkServer, photo: bytes) -> float:
    """Run the command of a type of server; return the seconds until a photo has its caption."""
    port = Ports.find_free().inference
    with tempfile.TemporaryDirectory(prefix="captioner-bench-") as folder:
        start = time.perf_counter()
        arguments = server.command(server.checkpoint, port, Path(folder))
        command = ServedCommand(arguments, Path(folder) / "command.log")
        try:
            command.wait_for_caption(f"http://127.0.0.1:{port}{PREDICTIONS}", photo)
            return time.perf_counter() - start
        finally:
            command.stop()
