"""The results of a benchmark: figures, and the lines of a table with thresholds."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Line:
    """One line of the printed table: a measured value and, where it has one, its threshold."""

    name: str
    measured: float
    unit: str
    at_least: float | None = None
    at_most: float | None = None
    digits: int = 2  # after the decimal point

    @property
    def verdict(self) -> str:
        """``ok``, ``missed``, or empty where there is no threshold."""
        if self.at_least is None and self.at_most is None:
            return ""
        enough = self.at_least is None or self.measured >= self.at_least
        little = self.at_most is None or self.measured <= self.at_most
        return "ok" if enough and little else "missed"

    @property
    def threshold(self) -> str:
        """The threshold in words, such as ``at least 4``; empty where there is none."""
        if self.at_least is not None:
            return f"at least {self.at_least:g}"
        return "" if self.at_most is None else f"at most {self.at_most:g}"


@dataclass
class Report:
    """Everything that one benchmark measured: figures by name for JSON, and the table's lines."""

    figures: dict[str, Any] = field(default_factory=dict)
    lines: list[Line] = field(default_factory=list)

    def add(self, part: Report) -> None:
        """Take in the figures and lines of a part of this benchmark."""
        self.figures |= part.figures
        self.lines += part.lines


def columns(rows: Sequence[Sequence[str]], left: Collection[int] = (0,)) -> str:
    """Lay rows out as plain text, columns flush right but for those numbered in ``left``."""
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
    """Lay lines out as plain text: name, value, unit, threshold and whether it is met."""
    rows = [["", "measured", "", "threshold", ""]]
    for line in lines:
        figure = f"{line.measured:.{line.digits}f}"
        rows.append([line.name, figure, line.unit, line.threshold, line.verdict])
    return columns(rows, left=(0, 2, 3, 4))


def write_json(path: Path, reports: Mapping[str, Report], about: Mapping[str, Any]) -> None:
    """Write the figures and lines of several benchmarks, by their names.

    Parameters
    ----------
    about
        What else the file says, such as the machine; JSON values.
    """
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
