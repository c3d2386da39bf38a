"""A table of captions that never ends: rows are added to it while folders are watched.

Beside a table ``captions.csv`` lies ``captions.csv.watch.json``, the settings that its rows were
made with.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from captioner.bulk.part import PartState
from captioner.bulk.photo import Photo
from captioner.bulk.resumption import TablePlan, changed_settings, rows_of
from captioner.bulk.row import Row, encodable
from captioner.bulk.run import Counts
from captioner.bulk.table_sink import BATCH_SIZE, digest
from captioner.bulk.tables import APPENDABLE, AppendableForm
from model.files import check_new, locked

MAX_BYTES_CUT_OFF = 2**16  # of a row that was not written whole; more is not ours to drop


def watch_state_path(table: Path) -> Path:
    """Return where the settings of the table lie."""
    return table.with_name(f"{table.name}.watch.json")


def appendable_form(table: Path) -> AppendableForm:
    """Return the form of a table by the ending of its name; raises `ValueError` for others."""
    form = APPENDABLE.get(table.suffix.lower())
    if form is None:
        raise ValueError(
            f"{table}: while folders are watched, rows are added one by one, to a table whose name"
            f" ends in {' or '.join(APPENDABLE)}"
        )
    return form


def check_appendable(table: Path, may_use: bool) -> None:
    """Check, before any work, that rows can be added to a table, new or there already.

    Parameters
    ----------
    may_use
        Whether a table may be used that no watching has begun.

    Raises
    ------
    ValueError
        It has another form, or it is there and may not be used, or nothing can be written there.
    """
    appendable_form(table)
    begun = PartState.read(watch_state_path(table)) is not None
    if table.exists() and not begun and not may_use:
        raise ValueError(
            f"{table} is there already; add --skip-existing to add to it, or --overwrite to replace"
            " it"
        )
    check_new(table, overwrite=True)


@contextmanager
def open_appended(plan: TablePlan) -> Iterator[AppendedTable]:
    """Open a table to add rows, after those that it has.

    Raises
    ------
    ValueError
        Another process writes it, or its rows were made with other settings or columns.
    """
    check_appendable(plan.path, plan.overwrite or plan.skip_existing)
    plan.path.parent.mkdir(parents=True, exist_ok=True)
    refusal = ValueError(f"{plan.path} is being written by another process; end that first")
    with locked(plan.path, refusal) as descriptor:
        form, state = appendable_form(plan.path), PartState.read(watch_state_path(plan.path))
        if state is None and plan.overwrite:
            os.ftruncate(descriptor, 0)
        if state is not None and (changed := changed_settings(state.settings, plan.settings)):
            raise ValueError(
                f"{plan.path} was begun with other settings: {changed}. Give the same ones to go"
                f" on, or another table; to begin anew, delete it and {watch_state_path(plan.path)}"
            )
        size = _whole_rows(plan.path, form)
        os.ftruncate(descriptor, size)
        known = {digest(row["photo"]) for row in rows_of(plan)} if size else set()
        if state is None:
            PartState(plan.settings).write(watch_state_path(plan.path))
        table = AppendedTable(plan, form, descriptor, size, known)
        try:
            yield table
        finally:
            table.flush()


class AppendedTable:
    """Adds rows to a table; `open_appended` opens it.

    Parameters
    ----------
    descriptor, size
        Of the open file, which has so many bytes.
    known
        The digests of the photos that have a row.
    """

    def __init__(
        self, plan: TablePlan, form: AppendableForm, descriptor: int, size: int, known: set[int]
    ) -> None:
        self._plan, self._form = plan, form
        self._descriptor, self._size, self._known = descriptor, size, known
        self._waiting: list[bytes] = [] if size else [form.header(plan.columns)]
        self._counts = Counts()

    def unwritten(self, photos: Iterable[Photo]) -> Iterator[Photo]:
        return (photo for photo in photos if digest(encodable(photo.name)) not in self._known)

    def write(self, row: Row) -> None:
        self._counts.add(row.failed)
        columns = self._plan.columns
        self._waiting.append(self._form.encoded(columns, row.to_dict(columns)))
        if len(self._waiting) >= BATCH_SIZE:
            self.flush()

    def flush(self) -> None:
        """Write the rows that wait, and have them survive a loss of power."""
        content, self._waiting = memoryview(b"".join(self._waiting)), []
        if not content:
            return
        try:
            while content:
                written = os.pwrite(self._descriptor, content, self._size)
                self._size, content = self._size + written, content[written:]
            os.fsync(self._descriptor)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._plan.path)) from error

    def finish(self) -> Counts:
        self.flush()
        return self._counts


def _whole_rows(path: Path, form: AppendableForm) -> int:
    """Return the size of the header and all whole rows, without a last one that was cut off."""
    size, lines = 0, b""
    with open(path, "rb") as file:
        for line in file:
            lines += line
            if form.is_whole(lines):
                size, lines = size + len(lines), b""
            elif len(lines) > MAX_BYTES_CUT_OFF:
                raise ValueError(f"{path} is damaged after {size} bytes; mend it there, or move it")
    return size
