"""A table of photos and captions: CSV, TSV, JSON lines or Parquet, its columns known by name.

A row for each photo or for each caption. Photos are in a column such as ``image``, ``file_name`` or
``path``; captions, or lists of them, in one such as ``caption`` or ``text``, or in several with
numbers, ``caption_1``, ``caption_2``, ...; ``split`` may say which is for what. The photos lie in
``Images/`` or ``images/`` beside the table, or beside it, or, in Parquet, in the table. What
``captioner caption --out`` writes is such a table, too; its rows with an error are left out.

A folder with one such table is read as the table, and so are several tables of a kind that are
named after splits, or that are numbered parts of one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from training.data.formats import delimited, parquet
from training.data.formats.columns import RECOGNISED, ColumnChoice, Columns, UnknownColumns
from training.data.formats.folders import PhotoFolders, folders_beside
from training.data.formats.listing import (
    Listing,
    checked_photo,
    each_row,
    merged,
    parse_json,
    read_text,
)
from training.data.parquet_cells import ParquetCell
from training.data.photo import Photo
from training.data.problems import NOT_CAPTIONED, InvalidDataset, Problem
from training.data.splits import split_in

LAYOUT = "a .csv, .tsv, .jsonl or .parquet with columns of photos and captions, or its folder"
_ENDINGS = (".csv", ".tsv", ".jsonl", ".parquet")
_PART = re.compile(r"^(.*?)[-_.]?\d+(-of-\d+.*)?$")  # part-00017, train-00000-of-00002-1a2b


def recognised_by(source: Path) -> list[Path]:
    if source.is_file():
        return [source] if source.suffix.lower() in _ENDINGS else []
    return _tables(source)


def read(source: Path, choice: ColumnChoice = RECOGNISED) -> Listing:
    """Yield the photos of a source; a user may have named the columns."""
    paths = [source]
    if source.is_dir():
        paths = _tables(source, choice)
        _require_one_table(source, paths)
    has_splits = len({split_in(path.stem) for path in paths}) > 1
    folders = PhotoFolders(folders_beside(paths[0].parent))
    yield from merged(
        item
        for path in paths
        for item in _rows(path, choice, split_in(path.stem) if has_splits else None, folders)
    )


def _tables(folder: Path, choice: ColumnChoice = RECOGNISED) -> list[Path]:
    """Return the files of a folder that have columns of photos and captions."""
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    return [
        path
        for path in files
        if path.suffix.lower() in _ENDINGS
        and path.stem != "metadata"  # of the format imagefolder
        and not path.name.startswith(".")
        and not path.with_suffix(".tar").exists()  # it describes the tar, as img2dataset's do
        and _has_columns(path, choice)
    ]


def _has_columns(path: Path, choice: ColumnChoice) -> bool:
    """Return whether a table has such columns; reading it tells what else is wrong with it."""
    try:
        _opened(path, choice)
    except UnknownColumns:
        return False
    except (InvalidDataset, ModuleNotFoundError):
        return True
    return True


def _require_one_table(folder: Path, paths: list[Path]) -> None:
    """Raise `InvalidDataset` unless the tables of a folder are one, or belong together."""
    if not paths:
        raise InvalidDataset(f"{folder} has no table with columns of photos and captions; name it")
    if not _belong_together(paths):
        names = ", ".join(path.name for path in paths)
        raise InvalidDataset(f"{folder} holds {len(paths)} tables, {names}; name the one to read")


def _belong_together(paths: list[Path]) -> bool:
    """Return whether tables are one, its numbered parts, or named after splits each."""
    if len({path.suffix.lower() for path in paths}) > 1:
        return False
    parts = {_PART.sub(r"\1", path.stem) for path in paths}
    return len(parts) == 1 or all(split_in(path.stem) for path in paths)


@dataclass(frozen=True)
class _Table:
    """The columns of a table, and its rows with their places, which are read when used."""

    columns: Columns
    rows: Iterable[tuple[str, Any]]
    fields_of: Callable[[Any], Mapping[str, Any]]  # of a row, by the names of the columns


def _opened(path: Path, choice: ColumnChoice) -> _Table:
    """Return a table; raises `InvalidDataset` if it cannot be read or has other columns."""
    kind = path.suffix.lower()
    if kind == ".parquet":
        return _Table(*parquet.read_parquet(path, choice), dict)
    text = read_text(path)
    if kind == ".jsonl":
        columns = Columns.among(_keys(text), choice, path)
        return _Table(columns, _placed(path, _lines(text)), parse_json)
    header = delimited.header_of(path, text, choice)
    rows = _placed(path, header.rows(path, text))
    return _Table(header.columns, rows, partial(delimited.fields_of, names=header.names))


def _placed(path: Path, rows: Iterable[tuple[int, Any]]) -> Iterator[tuple[str, Any]]:
    """Yield each row with its place in the file, for messages."""
    return ((f"{path.name} line {number}", row) for number, row in rows)


def _rows(
    path: Path, choice: ColumnChoice, split_of_name: str | None, folders: PhotoFolders
) -> Listing:
    table = _opened(path, choice)
    columns = table.columns

    def photo(row: Any) -> Photo | Problem:
        fields = table.fields_of(row)
        name = fields[columns.photo]
        if error := _text(fields, columns.error):
            return Problem(NOT_CAPTIONED, str(name), error)
        texts = list(_texts(fields, columns.captions))
        split = _text(fields, columns.split) or split_of_name
        if isinstance(name, ParquetCell):
            return replace(checked_photo(name.name, texts, split), file=name)
        return checked_photo(name.strip() if isinstance(name, str) else name, texts, split, folders)

    return each_row(table.rows, photo)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines that are not blank, with their numbers."""
    return ((n, line) for n, line in enumerate(text.split("\n"), 1) if line.strip())


def _keys(text: str) -> list[str]:
    """Return the keys of the first object in lines of JSON."""
    return next((list(found) for _, line in _lines(text) if (found := _object(line))), [])


def _object(line: str) -> dict[str, Any]:
    """Return the object in a line of JSON; an empty one where there is none."""
    try:
        found = parse_json(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _text(fields: Mapping[str, Any], column: str | None) -> str:
    """Return the text in a column, stripped; an empty one if there is none."""
    value = fields.get(column) if column else None
    return "" if value is None else str(value).strip()


def _texts(fields: Mapping[str, Any], columns: tuple[str, ...]) -> Iterator[Any]:
    """Yield the captions in a row; of several columns those that have one."""
    for column in columns:
        value = fields[column] if len(columns) == 1 else fields.get(column)
        if isinstance(value, list):
            yield from value
        elif isinstance(value, str) and value.startswith("["):
            yield from _listed(value)
        elif value is not None and (len(columns) == 1 or value != ""):
            yield value


def _listed(text: str) -> list[str]:
    """Return the captions of a list written as JSON, or the text itself if it is none."""
    try:
        found = json.loads(text)
    except ValueError:
        return [text]
    texts = isinstance(found, list) and all(isinstance(item, str) for item in found)
    return found if texts else [text]
