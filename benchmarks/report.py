"""What a benchmark is asked for, and what it says: figures, and lines with thresholds."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Options:
    """What is measured, and how long.

    Parameters
    ----------
    checkpoint
        Checkpoint folder.
    photos
        Folder of JPEGs; ``None`` for synthetic ones.
    data, split
        Captioned photos of the agreement, and their split.
    rounds
        Of runs in turn, after one to warm up.
    requests
        Of a served captioner, between two looks at its memory.
    swaps
        Of versions.
    search, other, other_search
        How the checkpoint searches where it is compared with another captioner, whose checkpoint
        (this one unless named) and search these are; ``beam_size=5,consensus=false``.
    quick
        So little that only whether it runs is seen.
    """

    checkpoint: Path
    photos: Path | None = None
    data: Path | None = None
    split: str = "val"
    rounds: int = 5
    requests: int = 2000
    swaps: int = 100
    search: str = ""
    other: Path | None = None
    other_search: str = ""
    quick: bool = False

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise ValueError(f"rounds is {self.rounds}; it must be at least 1")
        if self.swaps < 1:
            raise ValueError(f"swaps is {self.swaps}; it must be at least 1")


@dataclass(frozen=True)
class Line:
    """One figure and, where there is one, its threshold."""

    name: str
    measured: float
    unit: str
    at_least: float | None = None
    at_most: float | None = None
    digits: int = 2

    @property
    def verdict(self) -> str:
        """``ok``, ``short`` of the threshold, or nothing without one."""
        if self.at_least is None and self.at_most is None:
            return ""
        enough = self.at_least is None or self.measured >= self.at_least
        little = self.at_most is None or self.measured <= self.at_most
        return "ok" if enough and little else "short"

    @property
    def threshold(self) -> str:
        if self.at_least is not None:
            return f"at least {self.at_least:g}"
        return "" if self.at_most is None else f"at most {self.at_most:g}"


@dataclass
class Report:
    """Everything one benchmark measured."""

    figures: dict[str, Any] = field(default_factory=dict)
    lines: list[Line] = field(default_factory=list)


def columns(rows: Sequence[Sequence[str]], left: Collection[int] = (0,)) -> str:
    """Rows as plain text; the columns that are not named as flush left are flush right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(
            cell.ljust(width) if i in left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def table(lines: Sequence[Line]) -> str:
    """Name, figure, threshold and whether it is met, a line each."""
    rows = [["", "measured", "", "threshold", ""]]
    for line in lines:
        figure = f"{line.measured:.{line.digits}f}"
        rows.append([line.name, figure, line.unit, line.threshold, line.verdict])
    return columns(rows, left=(0, 2, 3, 4))


def write_json(path: Path, reports: Mapping[str, Report], about: Mapping[str, Any]) -> None:
    """Figures and lines of all benchmarks that ran."""
    from model.files import write_whole  # here, because the model's package takes torch along

    content = dict(about) | {
        "figures": {name: report.figures for name, report in reports.items()},
        "lines": [
            dataclasses.asdict(line) | {"verdict": line.verdict}
            for report in reports.values()
            for line in report.lines
        ],
    }
    write_whole(path, (json.dumps(content, indent=2) + "\n").encode())
