"""Training in one process or, under torchrun, in several that act as one."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import distributed

from model.inference.devices import choose_device

T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """One process of a training, and the others that it talks to."""

    rank: int  # its number, 0 to world - 1
    world: int  # number of processes
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.rank == 0

    def sum(self, values: list[float]) -> list[float]:
        """Return each value summed over all processes."""
        if self.world == 1:
            return values
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        distributed.all_reduce(tensor)
        return [float(value) for value in tensor.tolist()]

    def gather(self, value: T) -> list[T]:
        """Return the values of all processes, by rank."""
        if self.world == 1:
            return [value]
        gathered: list[T | None] = [None] * self.world
        distributed.all_gather_object(gathered, value)
        return [item for item in gathered if item is not None]

    def in_first(self, action: Callable[[], object]) -> None:
        """Run an action in the first process; a `ValueError` there is raised in all processes.

        Otherwise the others would wait for the first for ever.
        """
        fault = ""
        if self.first:
            try:
                action()
            except ValueError as error:
                if self.world == 1:
                    raise
                fault = str(error)
        if fault := self.gather(fault)[0]:
            raise ValueError(fault)

    def wait(self) -> None:
        """Wait until all processes have come here."""
        if self.world > 1:
            distributed.barrier()


@contextmanager
def joined(device: str) -> Iterator[Processes]:
    """Join the other processes that torchrun started, if any: by gloo on CPUs, by NCCL on GPUs.

    Parameters
    ----------
    device
        The device for `choose_device`; with ``auto`` or ``cuda``, each process of a machine takes a
        GPU of its own.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if device in ("auto", "cuda") and torch.cuda.is_available():
        device = f"cuda:{local}"
    chosen = choose_device(device)
    if world == 1:
        yield Processes(0, 1, chosen)
        return
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    rank = distributed.get_rank()
    if rank:
        logging.getLogger("captioner").setLevel(logging.WARNING)  # the first logs for all
    try:
        yield Processes(rank, world, chosen)
    finally:
        distributed.destroy_process_group()
