"""Photos whose bytes lie in a Parquet table, read in place."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

_reading = Lock()  # or several threads would read the same group


def parquet_module() -> Any:
    """Return the module `pyarrow.parquet`, which the extra ``bulk`` installs."""
    return importlib.import_module("pyarrow.parquet")


@dataclass(frozen=True)
class ParquetCell:
    """The bytes of a photo in a table: binary, or in Hugging Face's struct of bytes and path."""

    path: Path  # of the table
    column: str
    group: int  # of rows, which are compressed together
    row: int  # within the group
    number: int  # of the row within the table

    @property
    def name(self) -> str:
        """A name for the photo; names are sorted as the rows are."""
        return f"{self.path.name}#{self.number:07}"

    @property
    def place(self) -> tuple[int, int]:
        """The row, and the table's size in bytes."""
        return self.number, self.path.stat().st_size

    def read_bytes(self) -> bytes:
        """Return the bytes; raises `OSError` if they are missing or cannot be read."""
        try:
            with _reading:
                value = _cells(self.path, self.column, self.group)[self.row].as_py()
        except ValueError as error:  # pyarrow's errors are of this kind, too
            raise OSError(str(error)) from error
        content = value.get("bytes") if isinstance(value, dict) else value
        if not isinstance(content, bytes):
            raise OSError(f"the column {self.column!r} holds no bytes in this row")
        return content


@lru_cache(maxsize=2)  # photos are read in the order of the rows, some ahead
def _cells(path: Path, column: str, group: int) -> Any:
    with parquet_module().ParquetFile(path) as file:
        return file.read_row_group(group, columns=[column]).column(column)
