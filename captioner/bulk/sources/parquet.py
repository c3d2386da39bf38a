"""The photos of a Parquet table: a column of paths, or of the bytes of image files."""

from __future__ import annotations

from collections.abc import Iterator
from posixpath import dirname
from typing import Any

from captioner.bulk.arrow import arrow_module
from captioner.bulk.photo import Photo, reason_of
from captioner.bulk.sources.stores import Store, is_address
from captioner.bulk.sources.text import photo_at

ENDING = ".parquet"
# The names of columns that hold photos, as data sets have them; the first that there is counts.
COLUMNS = ("image", "photo", "image_path", "file_name", "filename", "path", "jpg")
ROWS_AT_A_TIME = 16  # their bytes are in memory together


def photos_in(store: Store, path: str, column: str | None = None) -> Iterator[Photo]:
    """Yield the photos of a table in the order of its rows.

    A photo whose bytes lie in the table is named by the row, ``photos.parquet#17``, counted from 0.
    A path is the photo's name as it stands, and is relative to the folder of the table.
    """
    try:
        with store.open(path) as file:
            table = arrow_module("pyarrow.parquet").ParquetFile(file)
            column = column_of(path, table.schema_arrow.names, column)
            row = 0
            for batch in table.iter_batches(ROWS_AT_A_TIME, columns=[column]):
                for value in batch.column(0).to_pylist():
                    yield _photo(store, path, row, column, value)
                    row += 1
    except OSError as error:
        yield Photo.unreadable(path, reason_of(error))
    except arrow_module("pyarrow").ArrowInvalid as error:
        yield Photo.unreadable(path, f"It is no whole Parquet file: {reason_of(error)}")


def check(store: Store, path: str, column: str | None) -> None:
    """Raise `ValueError` if a table that can be read has no such column."""
    arrow = arrow_module("pyarrow")
    try:
        with store.open(path) as file:
            names = arrow_module("pyarrow.parquet").ParquetFile(file).schema_arrow.names
    except (OSError, arrow.ArrowInvalid):
        return  # it is a row with its error when its turn comes
    column_of(path, names, column)


def column_of(path: str, names: list[str], wanted: str | None) -> str:
    """Return the name of the column that holds photos; raises `ValueError` if there is none."""
    found = [name for name in ([wanted] if wanted else COLUMNS) if name in names]
    if found:
        return found[0]
    missing = f"no column {wanted!r}" if wanted else "no column with a usual name of photos"
    raise ValueError(f"{path} has {missing}; name one with --image-column: {', '.join(names)}")


def _photo(store: Store, table: str, row: int, column: str, value: Any) -> Photo:
    """Return the photo of one value: bytes, a path, or Hugging Face's struct of both."""
    place = f"{table}#{row}"
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        content = value
        return Photo(place, lambda: content)
    if isinstance(value, str) and value:
        absolute = value.startswith("/") or is_address(value) or not dirname(table)
        return photo_at(value if absolute else store.join(dirname(table), value), value)
    return Photo.unreadable(place, f"The column {column} holds neither a path nor bytes here")
