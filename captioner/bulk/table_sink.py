"""A table of captions that is written whole, and gone on with after an end that came too early."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from hashlib import blake2b
from itertools import islice
from pathlib import Path

from captioner.bulk.part import Part, PartState, how_to_begin_anew, state_path
from captioner.bulk.photo import Photo
from captioner.bulk.row import Row, encodable, is_failure
from captioner.bulk.run import Counts
from captioner.bulk.tables import Values, form_of
from model.files import sync_folder

# Photos that are captioned together. A run that goes on begins with a whole batch, so that every
# photo has the neighbours, and to the last digit the figures, that it has in an undisturbed run.
BATCH_SIZE = 32


class TableSink:
    """Writes rows beside the table, and makes the table of them at the end.

    Attributes
    ----------
    part
        The file that the rows are in until then; `captioner.bulk.resumption` opens it.
    """

    def __init__(self, table: Path, columns: Sequence[str], part: Part, state: PartState) -> None:
        self.table, self.part = table, part
        self._columns, self._state = columns, state
        self._form = form_of(table)
        self._waiting: list[Values] = []
        self._model_before: str | None = None  # the model of the last row of an earlier run

    @property
    def kept(self) -> int:
        """The number of rows of the table that was there before."""
        return self._state.kept or 0

    @property
    def done(self) -> int:
        """The number of photos that an earlier run has captioned."""
        return self.part.rows - self.kept

    def unwritten(self, photos: Iterable[Photo]) -> Iterator[Photo]:
        known = {digest(row["photo"]) for row in islice(self.part.read(), self.kept)}
        remaining = (photo for photo in photos if digest(encodable(photo.name)) not in known)
        for number, row in enumerate(islice(self.part.read(), self.kept, None), 1):
            self._model_before = row["model"] or self._model_before
            photo = next(remaining, None)
            name = None if photo is None else encodable(photo.name)
            if name != row["photo"]:
                now = "there are no more photos" if name is None else f"it is {name}"
                raise ValueError(
                    f"the photos have changed since {self.part.path} was begun: photo {number} was"
                    f" {row['photo']}, now {now}; {how_to_begin_anew(self.table)}"
                )
        yield from remaining

    def write(self, row: Row) -> None:
        if row.model is not None:
            self._check_model(row.model)
        self._waiting.append(row.to_dict(self._columns))
        if len(self._waiting) >= BATCH_SIZE:
            self.flush()

    def flush(self) -> None:
        self.part.append(self._waiting)
        self._waiting = []

    def count_appended(self) -> None:
        """Count whole batches that were written, but not counted because of an interrupt."""
        self.part.count_appended(BATCH_SIZE)

    def finish(self) -> Counts:
        """Make the table of the rows, and remove the files beside it."""
        self.flush()
        self.part.sync()
        finished = replace(self._state, finished=True)
        finished.write(state_path(self.table))
        counts = Counts()
        self._make_table(_counted(self.part.read(), counts, self.kept))
        self.part.path.unlink()
        state_path(self.table).unlink()
        return counts

    def _check_model(self, model: str) -> None:
        """Check that a server, which names its model only in replies, still has the same one."""
        if self._model_before not in (None, model):
            raise ValueError(
                f"{self.part.path} was begun with the model {self._model_before}, and the server"
                f" now has {model}; {how_to_begin_anew(self.table)}"
            )
        self._model_before = None

    def _make_table(self, rows: Iterator[Values]) -> None:
        descriptor, name = tempfile.mkstemp(prefix=f".{self.table.name}.", dir=self.table.parent)
        os.close(descriptor)
        new = Path(name)
        try:
            self._form.write(new, self._columns, rows)
            with open(new, "rb") as file:
                os.fsync(file.fileno())
            new.chmod(0o644)
            new.replace(self.table)
        except OSError as error:
            raise OSError(error.errno, error.strerror or str(error), str(self.table)) from error
        finally:
            new.unlink(missing_ok=True)
        sync_folder(self.table.parent)


def _counted(rows: Iterator[Values], counts: Counts, kept: int) -> Iterator[Values]:
    """Pass rows on, and count those that follow the kept ones."""
    for number, row in enumerate(rows):
        if number >= kept:
            counts.add(is_failure(row))
        yield row


def digest(name: str) -> int:
    """Return 64 bits that stand for a name, which a set of millions of them has room for."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big")
