"""SIGINT and SIGTERM for a job that undoes what it began."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self


class Interrupts:
    """In its ``with`` both signals raise `KeyboardInterrupt`: once, and not while they are held.

    A second one would end the undoing that the first began. Python gives signals to the main thread
    alone; in another one this does nothing.
    """

    def __init__(self) -> None:
        self._held = self._came = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) is not signal.SIG_IGN:  # as a shell's job in background
                    self._before[number] = signal.signal(number, self._interrupt)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def hold(self) -> None:
        """From now on they wait."""
        self._held = True

    def release(self) -> None:
        """No longer; one that came meanwhile is raised."""
        self._held = False
        if self._came:
            self._raise()

    @contextmanager
    def held(self) -> Iterator[None]:
        """For a block that is whole or fails; if it fails they wait on, for the undoing."""
        self.hold()
        yield
        self.release()

    @contextmanager
    def held_after_failure(self) -> Iterator[None]:
        """Once the block has failed they wait, for the undoing."""
        try:
            yield
        except BaseException:
            self.hold()
            raise

    def _interrupt(self, _signal: int, _frame: FrameType | None) -> None:
        if self._held:
            self._came = True
        else:
            self._raise()

    def _raise(self) -> None:
        self._held = True
        raise KeyboardInterrupt
