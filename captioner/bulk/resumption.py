"""Beginning a table of captions, or going on with one that an earlier run has begun."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from captioner.bulk.part import Part, PartState, how_to_begin_anew, part_path, state_path
from captioner.bulk.row import is_failure
from captioner.bulk.table_sink import BATCH_SIZE, TableSink
from captioner.bulk.tables import Values, form_of
from model.files import check_new

ROWS_COPIED_AT_A_TIME = 1000


@dataclass(frozen=True)
class TablePlan:
    """The plan of a table to write.

    Attributes
    ----------
    path
        Its file; the ending says its form.
    columns
        The names of its columns.
    settings
        All that decides what its rows hold, by names for people; a run only goes on from rows with
        equal settings.
    overwrite
        Whether a table that is there is replaced.
    skip_existing
        Whether the captions of a table that is there are kept, and only other photos captioned.
    """

    path: Path
    columns: Sequence[str]
    settings: Mapping[str, Any]
    overwrite: bool = False
    skip_existing: bool = False


@contextmanager
def open_table(plan: TablePlan) -> Iterator[TableSink]:
    """Open a sink that goes on from what an earlier run has written, if one has.

    What is written remains if the block fails, unless it has no row.

    Raises
    ------
    ValueError
        The table is there already, or an earlier run had other settings.
    """
    check_table(plan.path, plan.overwrite or plan.skip_existing)
    plan.path.parent.mkdir(parents=True, exist_ok=True)
    with Part.open(part_path(plan.path)) as part:
        try:
            state = _begin(plan, part)
            yield TableSink(plan.path, plan.columns, part, state)
        finally:
            if part.is_empty():
                part.path.unlink(missing_ok=True)
                state_path(plan.path).unlink(missing_ok=True)


def check_table(table: Path, may_replace: bool) -> None:
    """Check, before any work, that a table can be written.

    Raises
    ------
    ValueError
        Its name has another ending, it is there and may not be replaced, or nothing can be
        written there.
    ModuleNotFoundError
        Its form needs something that is not installed.
    """
    form_of(table).check()
    begun = PartState.read(state_path(table))
    # Once all rows are there, the table itself may be there too: only the cleaning up was missed.
    check_new(table, may_replace or (begun is not None and begun.finished))


def _begin(plan: TablePlan, part: Part) -> PartState:
    """Bring the rows into a state to go on from, and return what is known of them."""
    state = PartState.read(state_path(plan.path))
    if state is None:
        if not part.is_empty():
            raise ValueError(
                f"{part.path} is there, and no earlier run has begun it; rename or delete it"
            )
        return _begin_anew(plan, part)
    if part.is_empty() and not (state.finished and plan.path.exists()):
        return _begin_anew(plan, part)
    _check_settings(plan, state.settings)
    if part.is_empty():  # the table is made, and its rows are deleted already
        _copy(plan, part, failures=True)
        return state
    if state.kept is None:
        return _begin_anew(plan, part)
    part.keep_whole(state.kept, 1 if state.finished else BATCH_SIZE)
    return state


def _begin_anew(plan: TablePlan, part: Part) -> PartState:
    part.clear()
    state = PartState(plan.settings)
    state.write(state_path(plan.path))
    if plan.skip_existing and plan.path.exists():
        _copy(plan, part, failures=False)
        part.sync()
    state = replace(state, kept=part.rows)
    state.write(state_path(plan.path))
    return state


def _copy(plan: TablePlan, part: Part, failures: bool) -> None:
    """Copy the rows of the table that is there, with or without those that have no caption."""
    rows = (row for row in rows_of(plan) if failures or not is_failure(row))
    while some := list(islice(rows, ROWS_COPIED_AT_A_TIME)):
        part.append(some)


def rows_of(plan: TablePlan) -> Iterator[Values]:
    """Yield the rows of the table that is there; raises `ValueError` if it has other columns."""
    try:
        for row in form_of(plan.path).read(plan.path):
            if tuple(row) != tuple(plan.columns):
                columns = ", ".join(map(str, row))
                raise ValueError(f"its columns are {columns}, not {', '.join(plan.columns)}")
            yield row
    except ValueError as error:
        raise ValueError(f"{plan.path} cannot be added to: {error}") from error


def changed_settings(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return, in words, the settings that differ from those before; empty if none does."""
    names = [*now, *(name for name in before if name not in now)]
    return "; ".join(
        f"{name} was {_shown(before.get(name))} and is {_shown(now.get(name))}"
        for name in names
        if before.get(name) != now.get(name)
    )


def _check_settings(plan: TablePlan, before: Mapping[str, Any]) -> None:
    if changed := changed_settings(before, plan.settings):
        raise ValueError(
            f"{part_path(plan.path)} was begun with other settings: {changed}. Give the"
            f" same ones to go on; {how_to_begin_anew(plan.path)}"
        )


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "not given" if value is None else str(value)
