"""A folder of photos with a table of captions, as Hugging Face's ``imagefolder``.

``metadata.jsonl`` or ``metadata.csv`` gives ``file_name``, ``text`` and perhaps ``split``, a row
for each caption or for each photo; it lies in the folder, or one lies in each of ``train``, ``val``
(``validation``) and ``test``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from training.data.formats.delimited import Row, fields_of, read_rows
from training.data.formats.folders import PhotoFolders
from training.data.formats.listing import (
    Listing,
    checked_photo,
    each_row,
    merged,
    parse_json,
    read_text,
)
from training.data.photo import Photo
from training.data.problems import InvalidDataset
from training.data.splits import SPLIT_FOLDERS, canonical_split

LAYOUT = "a folder with metadata.jsonl or metadata.csv"


def recognised_by(source: Path) -> list[Path]:
    return _tables(source)


def read(source: Path) -> Listing:
    folders, tables = PhotoFolders([source]), _tables(source)
    inner = [path for kind in ("jsonl", "csv") for path in source.glob(f"[!.]*/metadata.{kind}")]
    if unknown := sorted(set(inner) - set(tables)):
        raise InvalidDataset(
            f"{unknown[0]}: its folder is not named after a split ({', '.join(SPLIT_FOLDERS)});"
            f" rename the folder, or list its photos in {source / unknown[0].name}"
        )
    yield from merged(item for path in tables for item in _rows(source, path, folders))


def _tables(folder: Path) -> list[Path]:
    folders = [folder, *(folder / name for name in SPLIT_FOLDERS)]
    paths = (inner / f"metadata.{kind}" for inner in folders for kind in ("jsonl", "csv"))
    return [path for path in paths if path.is_file()]


def _rows(folder: Path, table: Path, folders: PhotoFolders) -> Listing:
    inner = table.parent.relative_to(folder)  # "." or a split's folder

    def photo(row: Any) -> Photo:
        fields = read_fields(row)
        texts = fields["text"] if isinstance(fields["text"], list) else [fields["text"]]
        split = fields.get("split")
        if inner.name and split and canonical_split(split) != canonical_split(inner.name):
            raise ValueError(f"its split is {split!r}, but its folder {inner.name!r}")
        name = str(inner / fields["file_name"])
        return checked_photo(name, texts, inner.name or split, folders)

    rows: Iterable[tuple[int, Any]]
    read_fields: Callable[[Any], Any]
    if table.suffix == ".jsonl":
        lines = enumerate(read_text(table).split("\n"), 1)
        rows, read_fields = ((n, line) for n, line in lines if line.strip()), parse_json
    else:
        columns, rows = _csv_rows(table)
        read_fields = partial(fields_of, names=columns)
    return each_row(((f"{inner / table.name} line {n}", row) for n, row in rows), photo)


def _csv_rows(path: Path) -> tuple[list[str], list[Row]]:
    """Return the names of the columns and the rows below them."""
    rows = read_rows(path, read_text(path))
    columns = rows[0][1] if rows else []
    if not {"file_name", "text"} <= set(columns) or len(set(columns)) < len(columns):
        raise InvalidDataset(
            f"{path}: its first line must name the columns 'file_name' and 'text', each column"
            f" once and with commas between them; it names {columns}"
        )
    return columns, rows[1:]
