"""The forms of a table of captions, by the ending of its name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from captioner.bulk.tables import csv_table, jsonl_table, parquet_table

Values: TypeAlias = dict[str, Any]  # of one row, by their columns


class TableForm(Protocol):
    """A form of tables; each is a module of this package."""

    def check(self) -> None:
        """Raise `ModuleNotFoundError` if something that the form needs is not installed."""

    def write(self, path: Path, columns: Sequence[str], rows: Iterable[Values]) -> None:
        """Write a table, a few rows in memory at a time."""

    def read(self, path: Path) -> Iterator[Values]:
        """Yield the rows of a table that was written; raises `ValueError` for a damaged one."""


class AppendableForm(TableForm, Protocol):
    """A form of tables to which rows can be added."""

    def header(self, columns: Sequence[str]) -> bytes:
        """Return what stands before the first row."""

    def encoded(self, columns: Sequence[str], row: Values) -> bytes:
        """Return a row, which ends with a newline."""

    def is_whole(self, lines: bytes) -> bool:
        """Return whether some lines are one whole row or header, and not the start of one."""


FORMS: dict[str, TableForm] = {
    ".csv": csv_table,
    ".jsonl": jsonl_table,
    ".parquet": parquet_table,
}

APPENDABLE: dict[str, AppendableForm] = {".csv": csv_table, ".jsonl": jsonl_table}


def form_of(path: Path) -> TableForm:
    """Return the form of a table by the ending of its name; raises `ValueError` for others."""
    form = FORMS.get(path.suffix.lower())
    if form is None:
        raise ValueError(f"{path}: the name of a table must end in {', '.join(FORMS)}")
    return form
