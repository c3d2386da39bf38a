"""Tables as text, a row a line: their delimiter, quotes and header, found from their start.

clevercsv finds the delimiter and the quotes. The standard library's sniffer takes blanks for the
delimiter of most tables of captions, because captions have many and about as many each. Neither
sees reliably whether there is a header; here that shows in the names of the columns.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from model.photo_names import is_photo_name
from training.data.formats.columns import ColumnChoice, Columns, UnknownColumns
from training.data.problems import InvalidDataset

Row = tuple[int, list[str]]  # with the number of its last line

_DELIMITERS = ",;\t|"
_SAMPLE_LINES, _SAMPLE_CHARACTERS = 100, 20_000  # that the delimiter is found from


def read_rows(path: Path, text: str, **dialect: Any) -> list[Row]:
    """Return the rows of a text in some dialect of the module `csv`; empty lines are none.

    Raises
    ------
    InvalidDataset
        The quotes of the text are wrong.
    """
    reader, rows, read = csv.reader(io.StringIO(text, newline=""), strict=True, **dialect), [], 0
    try:
        for row in reader:
            read = reader.line_num
            rows += [(read, row)] if row else []
    except csv.Error as error:
        where = f"{path} after line {read}"
        raise InvalidDataset(f"{where} is not CSV: {error}; mend its quotes") from error
    return rows


def fields_of(row: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """Return the fields of a row; raises `ValueError` unless it has one for each column."""
    if len(row) == len(names):
        return dict(zip(names, row, strict=True))
    advice = "; a caption that holds the separator needs quotes" if len(row) > len(names) else ""
    raise ValueError(f"its fields are {len(row)}, the columns {len(names)}{advice}")


def sniffed(path: Path, text: str) -> dict[str, Any]:
    """Return the dialect of a table for `read_rows`; raises `UnknownColumns` if it has none."""
    from clevercsv.detect import Detector

    lines = text[:_SAMPLE_CHARACTERS].splitlines(keepends=True)
    whole = lines if len(text) <= _SAMPLE_CHARACTERS else lines[:-1]
    if not whole:
        raise UnknownColumns(f"{path} is empty, or its first line has no end")
    sample = "".join(whole[:_SAMPLE_LINES])
    # The header has the delimiter, and seldom another one.
    delimiters = [delimiter for delimiter in _DELIMITERS if delimiter in whole[0]]
    found = Detector().detect(sample, delimiters=delimiters)
    if found is not None and found.delimiter:
        # Quotes that are there but enclose no fields belong to the text. Apostrophes always do.
        quoted = found.quotechar == '"' or '"' not in sample
        return {
            "delimiter": found.delimiter,
            "escapechar": "\\" if found.escapechar == "\\" else None,
            "quoting": csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
        }
    try:  # it returns nothing where quoted and unquoted fields look alike to it
        delimiter = csv.Sniffer().sniff(sample, "".join(delimiters)).delimiter
    except csv.Error as error:
        raise UnknownColumns(
            f"{path}: what separates its columns cannot be told; write it with commas, and with"
            " quotes around captions that hold commas"
        ) from error
    return {"delimiter": delimiter}


@dataclass(frozen=True)
class Header:
    """The names of a table's columns, and how its text is written."""

    columns: Columns  # that matter
    names: list[str]  # of all columns
    is_a_row: bool  # False if the table has none, and its first row is a photo
    dialect: dict[str, Any]

    def rows(self, path: Path, text: str) -> Iterator[Row]:
        """Yield the rows below the header; raises `InvalidDataset` if quotes are wrong."""
        yield from read_rows(path, text, **self.dialect)[int(self.is_a_row) :]


def header_of(path: Path, text: str, choice: ColumnChoice) -> Header:
    """Return the header of a table.

    A table without one must have two columns, with names of photos in one of them.

    Raises
    ------
    InvalidDataset
        The text is no table, or its columns are unknown.
    """
    dialect = {"skipinitialspace": True} | sniffed(path, text)
    reader = csv.reader(io.StringIO(text, newline=""), **dialect)
    rows = [row for row in islice(reader, _SAMPLE_LINES) if row]
    if not rows:
        raise UnknownColumns(f"{path} is empty")
    names = [field.strip() for field in rows[0]]
    try:
        return Header(Columns.among(names, choice, path), names, True, dialect)
    except UnknownColumns:
        if choice or not any(map(is_photo_name, names)):
            raise
    names = _names_of_two(path, rows)
    return Header(Columns.among(names, choice, path), names, False, dialect)


def _names_of_two(path: Path, rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the names of the columns of a table that has no header."""
    [(width, _)] = Counter(map(len, rows)).most_common(1)
    if width != 2:
        raise UnknownColumns(
            f"{path} has {width} columns and no header: write their names into a first line, such"
            " as image,caption"
        )
    return ["image", "caption"] if is_photo_name(rows[0][0].strip()) else ["caption", "image"]
