"""Tables of captions in Parquet, with the names of photos or with their bytes."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from training.data.formats.columns import ColumnChoice, Columns
from training.data.parquet_cells import ParquetCell, parquet_module
from training.data.problems import InvalidDataset


def columns_of(path: Path, choice: ColumnChoice) -> Columns:
    """Return the columns that matter; raises `InvalidDataset` if it cannot be read or has none."""
    with _opened(path) as file:
        return Columns.among(file.schema_arrow.names, choice, path)


def read_parquet(
    path: Path, choice: ColumnChoice
) -> tuple[Columns, Iterator[tuple[str, dict[str, Any]]]]:
    """Return the columns that matter, and the rows, each with its place.

    Where a table holds the bytes of photos, the value of a row's photo is a `ParquetCell`.

    Raises
    ------
    InvalidDataset
        The table cannot be read, or its columns are unknown.
    ModuleNotFoundError
        pyarrow is not installed.
    """
    columns = columns_of(path, choice)
    return columns, _rows(path, columns)


def _rows(path: Path, columns: Columns) -> Iterator[tuple[str, dict[str, Any]]]:
    number = 0
    wanted = [*columns.captions, *filter(None, (columns.split, columns.error))]
    with _opened(path) as file:
        embedded = _holds_bytes(file.schema_arrow.field(columns.photo).type)
        wanted += [] if embedded else [columns.photo]
        for group in range(file.num_row_groups):
            for row, fields in enumerate(_group(path, file, group, wanted)):
                if embedded:
                    fields[columns.photo] = ParquetCell(path, columns.photo, group, row, number)
                yield f"{path.name} row {number}", fields
                number += 1


def _group(path: Path, file: Any, group: int, columns: list[str]) -> list[dict[str, Any]]:
    try:
        rows: list[dict[str, Any]] = file.read_row_group(group, columns=columns).to_pylist()
    except (OSError, ValueError) as error:
        raise InvalidDataset(f"{path} is damaged: {error}") from error
    return rows


def _holds_bytes(kind: Any) -> bool:
    """Return whether a type of pyarrow is that of bytes, or Hugging Face's struct with bytes."""
    types = importlib.import_module("pyarrow.types")
    if types.is_struct(kind):
        return any(kind.field(i).name == "bytes" for i in range(kind.num_fields))
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _opened(path: Path) -> Any:
    try:
        return parquet_module().ParquetFile(path)
    except (OSError, ValueError) as error:
        raise InvalidDataset(f"{path} is no whole Parquet file: {error}") from error
