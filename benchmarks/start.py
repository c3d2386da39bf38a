"""A new process: seconds to its first caption, and the memory of one that goes on captioning.

Every figure is of a process of its own, started with the files it reads in the disk's cache.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.measure import in_new_process
from benchmarks.report import Line, Options, Report, columns

MOST_SECONDS, MOST_MEGABYTES = 3.0, 900.0
BATCH, BATCHES = 32, 4
QUICK = 2  # of both
PARTS = ("import", "load", "first caption")


def bench(options: Options) -> Report:
    """Processes that only import and that caption one photo, in turn; one that captions batches."""
    from benchmarks.material import photos  # here, because --help should not wait for torch

    batch, batches = (QUICK, QUICK) if options.quick else (BATCH, BATCHES)
    with tempfile.TemporaryDirectory() as name:
        for i, photo in enumerate(photos(batch * batches, options.photos)):
            (Path(name) / f"{i:05}.jpg").write_bytes(photo)
        run = ["-m", "benchmarks.process"]
        first = [*run, "first", str(options.checkpoint), name]
        in_new_process(first)  # fills the disk's cache
        pairs = [
            (in_new_process([*run, "imports"]), in_new_process(first))
            for _ in range(options.rounds)
        ]
        many = in_new_process([*run, "many", str(options.checkpoint), name, str(batch)])

    def median(of: Callable[[Any, Any], float]) -> float:
        return statistics.median(of(imports, ours) for imports, ours in pairs)

    figures = {
        "seconds": {
            "torch and torchvision": median(lambda them, _: _seconds(them)),
            "captioner": median(lambda _, ours: _seconds(ours)),
            "more": median(lambda them, ours: _seconds(ours) - _seconds(them)),
        }
        | {part: statistics.median(ours["seconds"][part] for _, ours in pairs) for part in PARTS},
        "megabytes": {
            "torch and torchvision": median(lambda them, _: them["megabytes"]),
            "one photo": median(lambda _, ours: ours["megabytes"]),
            "batches": many["megabytes"],
        },
        "batches": batches,
        "batch": batch,
        "caption_words": many["caption_words"],
    }
    print(described(figures))
    seconds, megabytes = figures["seconds"]["more"], many["megabytes"]
    beyond = "s beyond importing torch, torchvision"
    return Report(
        figures,
        [
            Line("start, first caption", seconds, beyond, at_most=MOST_SECONDS),
            Line(
                f"start, batch {batch}, beam 5", megabytes, "MB", at_most=MOST_MEGABYTES, digits=0
            ),
        ],
    )


def described(figures: Mapping[str, Any]) -> str:
    """Seconds and memory of the three kinds of process."""
    seconds, megabytes = figures["seconds"], figures["megabytes"]
    rows = [
        ["start", "seconds", "MB"],
        [
            "import torch, torchvision",
            f"{seconds['torch and torchvision']:.2f}",
            f"{megabytes['torch and torchvision']:.0f}",
        ],
        ["first caption", f"{seconds['captioner']:.2f}", f"{megabytes['one photo']:.0f}"],
        *([f"  {part}", f"{seconds[part]:.2f}", ""] for part in PARTS),
        [
            f"{figures['batches']} batches of {figures['batch']}, beam 5,"
            f" {figures['caption_words']:.1f} words a caption",
            "",
            f"{megabytes['batches']:.0f}",
        ],
    ]
    return columns(rows)


def _seconds(process: Mapping[str, Any]) -> float:
    return float(sum(process["seconds"].values()))
