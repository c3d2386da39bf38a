"""A new process: the seconds to its first caption, and the memory of one that goes on captioning.

The baseline of the seconds is a process that imports torch and torchvision. Each figure comes from
a process of its own, started when the files that it reads are in the disk's cache.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.measure import in_new_process
from benchmarks.options import Options
from benchmarks.report import Line, Report, columns

MAX_SECONDS, MAX_MEGABYTES = 0.0, 800.0
BATCH, BATCHES = 32, 4
QUICK = 2  # batches, of as many photos
PARTS = ("import", "load", "first caption")


def bench(options: Options) -> Report:
    """Run processes that only import and that caption one photo, in turn; then one of batches."""
    from benchmarks.inputs import photos  # here, because --help should not wait for torch

    batch, batches = (QUICK, QUICK) if options.quick else (BATCH, BATCHES)
    with tempfile.TemporaryDirectory() as name:
        for i, photo in enumerate(photos(batch * batches, options.photos)):
            (Path(name) / f"{i:05}.jpg").write_bytes(photo)
        run = ["-m", "benchmarks.child_process"]
        first = [*run, "first", str(options.checkpoint), name]
        in_new_process(first)  # fills the disk's cache
        pairs = [
            (in_new_process([*run, "imports"]), in_new_process(first))
            for _ in range(options.rounds)
        ]
        many = in_new_process([*run, "many", str(options.checkpoint), name, str(batch)])

    def median(figure: Callable[[Any, Any], float]) -> float:
        return statistics.median(figure(imports, ours) for imports, ours in pairs)

    figures = {
        "seconds": {
            "torch and torchvision": median(lambda imports, _: _seconds(imports)),
            "captioner": median(lambda _, ours: _seconds(ours)),
            "more": median(lambda imports, ours: _seconds(ours) - _seconds(imports)),
        }
        | {part: statistics.median(ours["seconds"][part] for _, ours in pairs) for part in PARTS},
        "megabytes": {
            "torch and torchvision": median(lambda imports, _: imports["megabytes"]),
            "one photo": median(lambda _, ours: ours["megabytes"]),
            "batches": many["megabytes"],
        },
        "batches": batches,
        "batch": batch,
        "caption_words": many["caption_words"],
    }
    print(described(figures))
    seconds, megabytes = figures["seconds"]["more"], many["megabytes"]
    unit = "s beyond importing torch, torchvision"
    return Report(
        figures,
        [
            Line("start, first caption", seconds, unit, at_most=MAX_SECONDS),
            Line(f"start, batch {batch}, beam 5", megabytes, "MB", at_most=MAX_MEGABYTES, digits=0),
        ],
    )


def described(figures: Mapping[str, Any]) -> str:
    """Return the seconds and the memory of the three kinds of process, as a table."""
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
    """Return the seconds of all parts of a process."""
    return float(sum(process["seconds"].values()))
