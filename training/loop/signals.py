"""SIGTERM and SIGINT while a training runs: it saves its state before it stops."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any, Self


class TrainingStopped(Exception):
    """A signal ended the training after its state was saved."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}; --resume goes on")
        self.number = number


class StopSignals:
    """Remember a signal until the training can stop; a second one raises `KeyboardInterrupt`."""

    def __init__(self) -> None:
        self.number = 0  # of the signal that came
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self._remember)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _remember(self, number: int, _frame: FrameType | None) -> None:
        if self.number:
            raise KeyboardInterrupt
        self.number = number
