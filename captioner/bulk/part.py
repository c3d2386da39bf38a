"""The rows of a table that is not finished, and what they were made with.

Beside a table ``captions.csv`` that is being written lie ``captions.csv.part``, a JSON object a
line, and ``captions.csv.part.json``, the settings of the run. A run that ends early, however it
ends, leaves both, and the next one goes on from them.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any, Self

from captioner.bulk.tables.jsonl_table import is_whole, line_of
from model.files import locked, write_whole

SECONDS_BETWEEN_SYNCS = 5.0  # of the file to its disk; a loss of power costs what came since


def part_path(table: Path) -> Path:
    """Return where the rows of a table lie until it is finished."""
    return table.with_name(f"{table.name}.part")


def state_path(table: Path) -> Path:
    """Return where the settings of the run lie until then."""
    return table.with_name(f"{table.name}.part.json")


def how_to_begin_anew(table: Path) -> str:
    """Return what to do about rows that a run cannot go on from."""
    return f"to begin anew, delete {part_path(table)} and {state_path(table)}"


@dataclass(frozen=True)
class PartState:
    """The description of the rows, in a file beside them.

    Attributes
    ----------
    settings
        All that decides what the rows hold: model, options, sources.
    kept
        The number of rows at the start that come from a table that was there before; None while
        they are still being copied.
    finished
        Whether all rows are there; what remains is to make the table of them.
    """

    settings: Mapping[str, Any]
    kept: int | None = None
    finished: bool = False

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Return the state in a file, None if there is no file; raises `ValueError` if damaged."""
        try:
            return cls(**json.loads(path.read_bytes()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path} is damaged; delete it to begin anew") from error

    def write(self, path: Path) -> None:
        """Write the state to a file, in one step."""
        write_whole(path, (json.dumps(asdict(self), indent=1) + "\n").encode())


class Part:
    """The file of rows, which only grows, open for one process at a time.

    Attributes
    ----------
    rows
        The number of rows that it holds.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.rows = 0
        self._descriptor = descriptor
        self._size = 0  # bytes of whole rows; what follows them is a row that was cut off
        self._synced = time.monotonic()

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator[Self]:
        """Open the file, which is made if it is missing, and lock it.

        Raises
        ------
        ValueError
            Another process writes it.
        """
        refusal = ValueError(f"{path} is being written by another process; wait until it is done")
        with locked(path, refusal) as descriptor:
            yield cls(path, descriptor)

    def is_empty(self) -> bool:
        """Return whether the file holds nothing at all."""
        return os.fstat(self._descriptor).st_size == 0

    def keep_whole(self, kept: int, multiple: int) -> None:
        """Drop a row that was cut off, and then so many that a multiple remains after the kept."""
        ends = [0]  # of the last rows, at most as many as may have to be dropped
        with open(self.path, "rb") as file:
            for line in file:
                if not is_whole(line):
                    break
                self.rows += 1
                ends = [*ends[-multiple:], ends[-1] + len(line)]
        surplus = (self.rows - kept) % multiple if self.rows > kept else 0
        self.rows -= surplus
        self._size = ends[-1 - surplus]
        os.ftruncate(self._descriptor, self._size)

    def clear(self) -> None:
        """Drop all rows."""
        os.ftruncate(self._descriptor, 0)
        self.rows = self._size = 0

    def append(self, rows: list[dict[str, Any]]) -> None:
        """Add rows; a process that is killed meanwhile leaves at most one that is cut off.

        Raises
        ------
        OSError
            Names the file; the disk may be full.
        """
        content = memoryview(b"".join(map(line_of, rows)))
        try:
            written = 0
            while written < len(content):
                written += os.pwrite(self._descriptor, content[written:], self._size + written)
            if time.monotonic() - self._synced > SECONDS_BETWEEN_SYNCS:
                self.sync()
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from error
        self._size += written
        self.rows += len(rows)

    def count_appended(self, multiple: int) -> None:
        """Count rows that `append` wrote before an interrupt kept it from counting them.

        Only whole batches of ``multiple`` rows count, because `keep_whole` keeps only those.
        """
        with open(self.path, "rb") as file:
            file.seek(self._size)
            added = list(takewhile(is_whole, file))
        whole = added[: len(added) // multiple * multiple]
        self._size += sum(map(len, whole))
        self.rows += len(whole)

    def sync(self) -> None:
        """Have the rows survive a loss of power."""
        os.fsync(self._descriptor)
        self._synced = time.monotonic()

    def read(self) -> Iterator[dict[str, Any]]:
        """Yield the rows from the first to the last that there is now."""
        remaining = self._size
        with open(self.path, "rb") as file:
            while remaining:
                line = file.readline()
                remaining -= len(line)
                yield json.loads(line)
