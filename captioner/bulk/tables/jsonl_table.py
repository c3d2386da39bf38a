"""Tables as JSON lines: an object a row, in UTF-8."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any


def check() -> None:
    """Nothing is needed."""


def line_of(row: dict[str, Any]) -> bytes:
    """Return a row as one line, with the newline."""
    return json.dumps(row, ensure_ascii=False).encode() + b"\n"


def header(columns: Sequence[str]) -> bytes:
    """Return nothing: each row names its columns."""
    return b""


def encoded(columns: Sequence[str], row: dict[str, Any]) -> bytes:
    """Return a row as a table has it."""
    return line_of({name: row[name] for name in columns})


def is_whole(line: bytes) -> bool:
    """Return whether a line is a whole row; after a loss of power a file may hold anything."""
    if not line.endswith(b"}\n"):
        return False
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def write(path: Path, columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> None:
    with open(path, "wb") as file:
        file.writelines(encoded(columns, row) for row in rows)


def read(path: Path) -> Iterator[dict[str, Any]]:
    with open(path, "rb") as file:
        for line in file:
            yield json.loads(line)
