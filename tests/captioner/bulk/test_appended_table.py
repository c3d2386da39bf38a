"""Rows are added to a table durably, and a restart goes on after them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from captioner.bulk.appended_table import open_appended, watch_state_path
from captioner.bulk.photo import Photo
from captioner.bulk.resumption import TablePlan
from captioner.bulk.row import COLUMNS, Row
from captioner.bulk.tables import APPENDABLE, form_of

ROWS = [Row(f"{name}.jpg", f'a "{name}",\nwith a line', None, -1.0) for name in "abc"]


@pytest.fixture(params=APPENDABLE)
def plan(request: pytest.FixtureRequest, tmp_path: Path) -> TablePlan:
    return TablePlan(tmp_path / f"table{request.param}", COLUMNS, {"--beam-size": 5})


def add(plan: TablePlan, rows: Sequence[Row]) -> None:
    with open_appended(plan) as table:
        for row in rows:
            table.write(row)


def names_in(plan: TablePlan) -> list[str]:
    return [row["photo"] for row in form_of(plan.path).read(plan.path)]


def test_rows_are_added_and_known_after_a_restart(plan: TablePlan) -> None:
    add(plan, ROWS[:2])
    with open_appended(plan) as table:
        photos = [Photo(row.photo, bytes) for row in ROWS]
        assert [photo.name for photo in table.unwritten(photos)] == ["c.jpg"]
        table.write(ROWS[2])
        table.flush()
        assert names_in(plan) == ["a.jpg", "b.jpg", "c.jpg"]  # while it is open
        assert table.finish().photos == 1
    whole = plan.path.with_name(f"whole{plan.path.suffix}")
    form_of(whole).write(whole, COLUMNS, [row.to_dict(COLUMNS) for row in ROWS])
    assert plan.path.read_bytes() == whole.read_bytes()


def test_a_row_that_was_cut_off_is_dropped(plan: TablePlan) -> None:
    """A kill may come at any byte; the rows before the one that it hits remain."""
    add(plan, ROWS)
    whole = plan.path.read_bytes()
    kept = []
    for size in range(0, len(whole), 17):
        plan.path.write_bytes(whole[:size])
        add(plan, [])
        names = names_in(plan)
        add(plan, ROWS[len(names) :])
        assert plan.path.read_bytes() == whole
        kept.append(len(names))
    assert kept == sorted(kept)
    assert {*kept} == {0, 1, 2}


def test_other_settings_and_tables_of_others_are_refused(plan: TablePlan) -> None:
    add(plan, ROWS[:1])
    with pytest.raises(ValueError, match="--beam-size was 5 and is 3"):
        add(replace(plan, settings={"--beam-size": 3}), [])
    with pytest.raises(ValueError, match="cannot be added to: its columns are"):
        add(replace(plan, columns=(*COLUMNS, "tokens")), [])
    watch_state_path(plan.path).unlink()
    with pytest.raises(ValueError, match="is there already; add --skip-existing to add to it"):
        add(plan, [])
    add(replace(plan, skip_existing=True), ROWS[1:2])
    assert names_in(plan) == ["a.jpg", "b.jpg"]
    watch_state_path(plan.path).unlink()
    add(replace(plan, overwrite=True), ROWS[2:])
    add(replace(plan, overwrite=True), [])  # a restart replaces nothing
    assert names_in(plan) == ["c.jpg"]


def test_a_table_has_one_writer(plan: TablePlan) -> None:
    with open_appended(plan), pytest.raises(ValueError, match="being written by another process"):
        add(plan, ROWS)


def test_parquet_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"rows are added one by one.*\.csv or \.jsonl"):
        add(TablePlan(tmp_path / "table.parquet", COLUMNS, {}), [])


def test_damage_is_not_taken_for_a_row_that_was_cut_off(plan: TablePlan) -> None:
    add(plan, ROWS)
    before = plan.path.read_bytes() + b'"' + b"x" * 2**17 + b"\n"
    plan.path.write_bytes(before)
    with pytest.raises(ValueError, match="is damaged after"):
        add(plan, ROWS)
    assert plan.path.read_bytes() == before
