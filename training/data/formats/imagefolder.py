"""A folder of photos with a table of captions, as Hugging Face's ``imagefolder``.

``metadata.jsonl`` or ``metadata.csv`` gives ``file_name``, ``text`` and perhaps ``split``, a row
for each caption or for each photo; it lies in the folder, or one lies in each of ``train``, ``val``
(``validation``) and ``test``.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from training.data.formats.folders import PhotoFolders
from training.data.formats.listing import (
    Listing,
    checked_photo,
    each_row,
    parse_json,
    read_text,
)
from training.data.photo import Photo
from training.data.problems import InvalidDataset, Problem
from training.data.splits import SPLIT_FOLDERS, canonical_split

LAYOUT = "a folder with metadata.jsonl or metadata.csv"
_SURPLUS = "surplus fields"


def recognises(source: Path) -> bool:
    return bool(_tables(source))


def read(source: Path) -> Listing:
    photos: dict[tuple[str, tuple[str, ...]], Photo] = {}
    folders, tables = PhotoFolders([source]), _tables(source)
    inner = [path for kind in ("jsonl", "csv") for path in source.glob(f"[!.]*/metadata.{kind}")]
    if unknown := sorted(set(inner) - set(tables)):
        raise InvalidDataset(
            f"{unknown[0]}: its folder is not named after a split ({', '.join(SPLIT_FOLDERS)});"
            f" rename the folder, or list its photos in {source / unknown[0].name}"
        )
    for path in tables:
        for item in _rows(source, path, folders):
            if isinstance(item, Problem):
                yield item
                continue
            key = item.name, item.splits
            if key in photos:  # a table may have a row for every caption
                item = replace(item, captions=photos[key].captions + item.captions)
            photos[key] = item
    yield from photos.values()


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
        rows, read_fields = _csv_rows(table), _complete
    return each_row(((f"{inner / table.name} line {n}", row) for n, row in rows), photo)


def _csv_rows(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """Return the rows, each with the number of its last line."""
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""), restkey=_SURPLUS, strict=True)
    try:
        columns = list(reader.fieldnames or ())
        if not {"file_name", "text"} <= set(columns) or len(set(columns)) < len(columns):
            raise InvalidDataset(
                f"{path}: its first line must name the columns 'file_name' and 'text', each column"
                f" once and with commas between them; it names {columns}"
            )
        return [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        where = f"{path} after line {reader.line_num}"
        raise InvalidDataset(f"{where} is not CSV: {error}; mend its quotes") from error


def _complete(row: dict[str, Any]) -> dict[str, Any]:
    """Return the row; raises `ValueError` unless it has one field for each column."""
    if surplus := row.get(_SURPLUS):
        raise ValueError(
            f"it has {len(surplus)} fields more than there are columns; a caption with commas needs"
            " quotes around it"
        )
    if None in row.values():
        raise ValueError("it has fewer fields than there are columns")
    return row
