"""The options of benchmarks: names, defaults and help, from which command lines are made."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from captioner.paths import SHIPPED


def _argument(parse: type, help: str, metavar: str | None = None) -> dict[str, Any]:
    """Return the metadata by which a field becomes an option of the command line."""
    return {"type": parse, "help": help, "metavar": metavar}


@dataclass(frozen=True)
class Options:
    """The options of all benchmarks; each benchmark reads some of them.

    Raises
    ------
    ValueError
        An option is out of its range.
    """

    checkpoint: Path = field(
        default=SHIPPED, metadata=_argument(Path, "checkpoint folder (the shipped one)")
    )
    rounds: int = field(
        default=5, metadata=_argument(int, "how often each run is timed; figures are medians (5)")
    )
    photos: Path | None = field(
        default=None,
        metadata=_argument(
            Path, "JPEGs to use, the first by name (synthetic ones of 500 x 375 pixels)", "FOLDER"
        ),
    )
    device: str = field(
        default="cpu",
        metadata=_argument(str, "device that captions: cpu, cuda, cuda:1, ... or auto (cpu)"),
    )
    data: Path | None = field(
        default=None,
        metadata=_argument(Path, "captioned photos, prepared or as prepare reads them"),
    )
    split: str = field(default="val", metadata=_argument(str, "train, val or test (val)"))
    requests: int = field(
        default=2000,
        metadata=_argument(int, "requests between two looks at the worker's memory (2000)"),
    )
    search: str = field(
        default="",
        metadata=_argument(
            str,
            "decoding options, such as beam_size=5,max_length=20,consensus=false (the defaults)",
            "OPTIONS",
        ),
    )
    other: Path | None = field(
        default=None,
        metadata=_argument(Path, "checkpoint to compare with (the same checkpoint)", "CHECKPOINT"),
    )
    other_search: str = field(
        default="", metadata=_argument(str, "its decoding options (the defaults)", "OPTIONS")
    )
    server_type: str = field(
        default="torchserve",
        metadata=_argument(str, "server to measure: torchserve or web (torchserve)", "TYPE"),
    )
    only: str = field(
        default="",
        metadata=_argument(str, "parts to run, such as throughput,overload (all)", "PARTS"),
    )
    swaps: int = field(default=100, metadata=_argument(int, "how often versions are swapped (100)"))
    quick: bool = field(
        default=False, metadata=_argument(bool, "measure next to nothing, only see that it runs")
    )

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise ValueError(f"rounds is {self.rounds}; it must be at least 1")
        if self.swaps < 1:
            raise ValueError(f"swaps is {self.swaps}; it must be at least 1")


def add_options(
    parser: argparse.ArgumentParser, names: Collection[str], required: Collection[str] = ()
) -> None:
    """Add options to a parser: those of these names, and ``--checkpoint`` and ``--quick``."""
    for each in dataclasses.fields(Options):
        if each.name not in {*names, "checkpoint", "quick"}:
            continue
        flag, settings = f"--{each.name.replace('_', '-')}", dict(each.metadata)
        if settings["type"] is bool:
            parser.add_argument(flag, action="store_true", help=settings["help"])
        else:
            needed = each.name in required
            parser.add_argument(flag, default=each.default, required=needed, **settings)
