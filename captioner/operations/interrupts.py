"""SIGINT and SIGTERM for an operation that undoes what it began when it is interrupted."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self


class Interrupts:
    """A context in which SIGINT and SIGTERM raise `KeyboardInterrupt` once, and can be held back.

    Only the first signal raises: a second one would interrupt the undoing that the first began.
    While signals are held, one that comes is kept until `release`. Python delivers signals to the
    main thread alone; in another thread this class does nothing.
    """

    def __init__(self) -> None:
        self._held = self._pending = False
        self._handlers_before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                # A shell makes its background jobs ignore SIGINT; that must stay so.
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._handlers_before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._handlers_before.items():
            signal.signal(number, handler)

    def hold(self) -> None:
        """Hold signals back from now on."""
        self._held = True

    def release(self) -> None:
        """Stop holding signals back, and raise `KeyboardInterrupt` if one came meanwhile."""
        self._held = False
        if self._pending:
            self._raise()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold signals back for the block; if it fails they stay held, for the undoing."""
        self.hold()
        yield
        self.release()

    @contextmanager
    def held_after_failure(self) -> Iterator[None]:
        """Hold signals back once the block has failed, for the undoing."""
        try:
            yield
        except BaseException:
            self.hold()
            raise

    def _on_signal(self, _signal: int, _frame: FrameType | None) -> None:
        if self._held:
            self._pending = True
        else:
            self._raise()

    def _raise(self) -> None:
        self._held = True
        raise KeyboardInterrupt
