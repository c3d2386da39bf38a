"""Tables as CSV: UTF-8, a header, lines that end in a newline; an empty field is no value.

A column of several values, such as the alternatives, holds them as JSON.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from captioner.bulk.row import ALTERNATIVES, TOKENS

_NUMBERS = ("confidence", "log_prob")
_LISTS = (ALTERNATIVES, TOKENS)


def check() -> None:
    """Nothing is needed."""


def write(path: Path, columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([_field(name, row[name]) for name in columns] for row in rows)


def read(path: Path) -> Iterator[dict[str, Any]]:
    with open(path, encoding="utf-8", newline="") as file:
        try:
            for row in csv.DictReader(file, strict=True):
                yield {name: _value(name, text) for name, text in row.items()}
        except csv.Error as error:
            raise ValueError(str(error)) from error


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
