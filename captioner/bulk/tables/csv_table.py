"""Tables as CSV: UTF-8, a header, lines that end in a newline; an empty field is no value.

A column of several values, such as the alternatives, holds them as JSON.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from captioner.bulk.row import ALTERNATIVES, TOKENS

_NUMBERS = ("confidence", "log_prob")
_LISTS = (ALTERNATIVES, TOKENS)


def check() -> None:
    """Nothing is needed."""


def header(columns: Sequence[str]) -> bytes:
    """Return the first line of a table."""
    return _line(columns)


def encoded(columns: Sequence[str], row: dict[str, Any]) -> bytes:
    """Return a row as a table has it."""
    return _line([_field(name, row[name]) for name in columns])


def is_whole(lines: bytes) -> bool:
    """Return whether some lines are a whole row: a field in quotes may hold newlines."""
    return lines.endswith(b"\n") and lines.count(b'"') % 2 == 0


def write(path: Path, columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> None:
    with open(path, "wb") as file:
        file.write(header(columns))
        file.writelines(encoded(columns, row) for row in rows)


def read(path: Path) -> Iterator[dict[str, Any]]:
    with open(path, encoding="utf-8", newline="") as file:
        try:
            for row in csv.DictReader(file, strict=True):
                yield {name: _value(name, text) for name, text in row.items()}
        except csv.Error as error:
            raise ValueError(str(error)) from error


def _line(values: Sequence[Any]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue().encode()


def _field(name: str, value: Any) -> Any:
    if name in _LISTS and value is not None:
        return json.dumps(value, ensure_ascii=False)
    return value


def _value(name: str, text: str) -> Any:
    if not text:
        return None
    if name in _NUMBERS:
        return float(text)
    return json.loads(text) if name in _LISTS else text
