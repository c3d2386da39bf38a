"""Two lanes: the photos of a batch in two parts, computed side by side.

Torch's threads compute one operator together, and between two operators all of them wait for the
one that runs Python. A search has a hundred operators a step, most of them small. With two lanes,
each with half of the threads, one computes while the other waits: on two cores, 32 photos take five
sixths of the time, and two thirds where waiting threads sleep at once, see `captioner.threads`.
There a photo alone, too, takes less time in one lane than by all threads; and the other lane can
take a share of its search.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

A = TypeVar("A")
B = TypeVar("B")
R = TypeVar("R")


class Lanes:
    """Two threads of Python, each with half of torch's threads.

    They start when they are needed, and end when nothing refers to this object any more. On a GPU,
    or with one thread of torch, there are none.
    """

    def __init__(self, device: torch.device) -> None:
        self._threads, self._process = _threads_for(device), os.getpid()
        self._lanes: list[ThreadPoolExecutor] = []

    def suits(self, device: torch.device) -> bool:
        """Whether lanes that were made now for a device would be the same."""
        # A process that was forked has no threads of the one before.
        return (self._threads, self._process) == (_threads_for(device), os.getpid())

    def run(
        self,
        function: Callable[[list[A], list[B], Executor | None], R],
        first: list[A],
        second: list[B],
    ) -> list[R]:
        """Call a function with one part of two lists, and beside it with the other part.

        Parameters
        ----------
        function
            Its third argument is a lane that has nothing to do, if there is one.
        first
            Emptied, so that the function can free what it has used.

        Returns
        -------
        The results in the order of the parts; one result for what is not divided.
        """
        if self._threads < 2 or not first:
            return [function(first, second, None)]
        half = self._threads // 2
        if not self._lanes:
            self._start(half, self._threads - half)
        cut = len(first) * half // self._threads or 1  # a photo alone goes to the first lane
        parts = [(first[:cut], second[:cut]), (first[cut:], second[cut:])]
        first.clear()
        idle = None if parts[1][0] else self._lanes[1]
        calls = [
            lane.submit(function, *part, idle)
            for lane, part in zip(self._lanes, parts, strict=True)
            if part[0]
        ]
        parts.clear()
        return [call.result() for call in calls]

    def _start(self, *threads: int) -> None:
        self._lanes = [ThreadPoolExecutor(1) for _ in threads]
        for lane, count in zip(self._lanes, threads, strict=True):
            lane.submit(_compute_with, count).result()
        torch.set_num_threads(self._threads)  # of threads of Python that are yet to compute


class SpareLanes:
    """Lanes that wait for their next use: new ones would cost a tenth of a photo's time."""

    def __init__(self) -> None:
        self._spare: list[Lanes] = []

    @contextmanager
    def borrow(self, device: torch.device) -> Iterator[Lanes]:
        """Give lanes to one user; those who come meanwhile are given lanes of their own."""
        try:
            lanes = self._spare.pop()
        except IndexError:
            lanes = Lanes(device)
        if not lanes.suits(device):
            lanes = Lanes(device)
        try:
            yield lanes
        finally:
            self._spare[:] = [lanes]

    def __reduce__(self) -> tuple[type[SpareLanes], tuple[()]]:
        return SpareLanes, ()  # a copy starts threads of its own


def _threads_for(device: torch.device) -> int:
    return torch.get_num_threads() if device.type == "cpu" else 1


def _compute_with(threads: int) -> None:
    """Let this thread of Python compute with so many threads of torch.

    Torch keeps the number for each thread of Python. One that asks for the first time gets what was
    set last, in whatever thread.
    """
    torch.get_num_threads()
    torch.set_num_threads(threads)
