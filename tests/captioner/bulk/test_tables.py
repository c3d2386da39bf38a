"""Each form of a table holds what was written, and its readers are other people's."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from captioner.bulk.row import COLUMNS
from captioner.bulk.tables import FORMS, form_of, parquet_table

ALL = (*COLUMNS, "alternatives", "tokens")
OTHERS = [{"caption": "a cat", "confidence": 0.25, "log_prob": -2.5}]
TOKENS = [{"word": "a", "log_prob": -0.5}, {"word": "<end>", "log_prob": -1.0}]


def values(photo: str, *rest: Any) -> dict[str, Any]:
    return dict(zip(ALL, (photo, *rest), strict=True))


ROWS = [
    values("a b.jpg", 'a "dog", in\na park', 0.5, -1.5, None, "ab", OTHERS, TOKENS),
    values("new\nline, comma;\t.jpg", None, None, None, "not an image", None, None, None),
    values("🐕.jpg", "ein Hündchen", None, -0.25, None, "ab", [], []),
    values("low.jpg", None, 0.125, -3.0, "confidence 0.125 is below 0.5", "ab", [], []),
]


@pytest.mark.parametrize("ending", FORMS)
@pytest.mark.parametrize("rows", [ROWS, []], ids=["rows", "none"])
def test_what_is_written_is_read(ending: str, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    path, again = tmp_path / f"table{ending}", tmp_path / f"again{ending}"
    form = form_of(path)
    form.write(path, ALL, iter(rows))
    found = list(form.read(path))
    assert found == rows
    assert all(tuple(row) == ALL for row in found)
    form.write(again, ALL, found)
    assert again.read_bytes() == path.read_bytes()


def test_csv_is_as_other_programs_read_it(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    form_of(path).write(path, ALL, ROWS)
    with open(path, encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == list(ALL)
    assert rows[0][:6] == ["a b.jpg", 'a "dog", in\na park', "0.5", "-1.5", "", "ab"]
    assert json.loads(rows[0][6]) == OTHERS
    assert rows[1][1:] == ["", "", "", "not an image", "", "", ""]
    assert b"\r" not in path.read_bytes()


def test_jsonl_has_an_object_a_line(tmp_path: Path) -> None:
    path = tmp_path / "table.jsonl"
    form_of(path).write(path, ALL, ROWS)
    lines = path.read_text(encoding="utf-8").split("\n")
    assert [json.loads(line) for line in lines[:-1]] == ROWS
    assert lines[-1] == ""


def test_parquet_has_types_and_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_table, "ROWS_OF_A_GROUP", 2)
    path = tmp_path / "table.parquet"
    form_of(path).write(path, ALL, [*ROWS, ROWS[0]])
    table = pyarrow.parquet.read_table(path)
    assert table.to_pylist() == [*ROWS, ROWS[0]]
    assert [str(table.schema.field(name).type) for name in COLUMNS] == [
        *("string", "string", "double", "double", "string", "string")
    ]
    assert pyarrow.parquet.read_metadata(path).num_row_groups == 3


def test_another_ending_is_refused() -> None:
    with pytest.raises(ValueError, match=r"x\.xlsx.* must end in \.csv, \.jsonl, \.parquet"):
        form_of(Path("x.xlsx"))
    assert form_of(Path("X.CSV")) is FORMS[".csv"]


@pytest.mark.parametrize("ending", FORMS)
def test_a_damaged_table_is_an_error(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"table{ending}"
    path.write_bytes(b'"\xff{')
    with pytest.raises(ValueError):  # noqa: PT011  # whatever its reader says
        list(form_of(path).read(path))
