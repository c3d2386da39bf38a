"""The parts of a long benchmark, which ``--only`` names, so that it can be run in pieces."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from benchmarks.report import Report, table

Setup = TypeVar("Setup")
Part = Callable[[Setup], Report]


def select_parts(only: str, parts: Mapping[str, Part[Setup]], owner: str) -> dict[str, Part[Setup]]:
    """Return the parts that ``--only`` names with commas between them, or all.

    Raises
    ------
    ValueError
        There is no part of a name; the message calls them the parts of ``owner``.
    """
    wanted = only.split(",") if only else [*parts]
    if unknown := [name for name in wanted if name not in parts]:
        raise ValueError(
            f"--only names {unknown[0]!r}; the parts of {owner} are {', '.join(parts)}"
        )
    return {name: part for name, part in parts.items() if name in wanted}


def run_parts(parts: Mapping[str, Part[Setup]], setup: Setup) -> Report:
    """Run parts one after the other, and print the lines of each."""
    report = Report()
    for part in parts.values():
        measured = part(setup)
        print(table(measured.lines), flush=True)  # should a later part fail, this is known
        report.add(measured)
    return report
