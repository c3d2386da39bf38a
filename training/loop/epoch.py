"""One epoch of training. Everything it uses is an argument."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import nn

from training.data.batches import Batch
from training.loop.averaging import AveragedWeights
from training.loop.steps import Totals
from training.processes import Processes
from training.reporting.progress import progress


@dataclass
class EpochProgress:
    """The part of an epoch that is done; belongs to the state that a training resumes from."""

    batches: int = 0
    figure: float = 0.0  # the loss or reward that the step reports, summed over the batches

    @property
    def mean(self) -> float:
        return self.figure / max(1, self.batches)


def train_one_epoch(
    *,
    step: nn.Module,
    batches: Iterable[Batch],
    total: int,
    done: EpochProgress,
    optimizer: torch.optim.Optimizer,
    set_rates: Callable[[int], None],
    averaged: AveragedWeights,
    clip_norm: float,
    bf16: bool,
    processes: Processes,
    after_batch: Callable[[], None],
    name: str,
) -> None:
    """Train on the remaining batches of an epoch.

    Parameters
    ----------
    step
        A `training.loop.steps.Step`, wrapped in DistributedDataParallel if there are several
        processes.
    batches
        The remaining batches.
    total
        Number of batches in the whole epoch.
    done
        How far the epoch has come; updated after every batch.
    set_rates
        Called with the number of a batch before it, to set the learning rates.
    after_batch
        Called after every batch.
    name
        Of the epoch, for progress and errors.

    Raises
    ------
    ValueError
        A loss is not finite; names the photos. The weights are those before that batch.
    """
    step.train()
    device = processes.device
    for batch in progress(batches, total, name, done=done.batches):
        set_rates(done.batches)
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            loss, figure = step(batch.to(device), _totals(batch, processes))
        value, figure = processes.sum([part.item() / processes.world for part in (loss, figure)])
        if not math.isfinite(value):
            # The sum does not say whose part of the batch it was.
            names = [photo.name for photo in batch.photos]
            every = ", ".join(itertools.chain(*processes.gather(names)))
            raise ValueError(
                f"{name}: the loss of batch {done.batches} is {value}; lower the learning rate, or"
                f" look at its photos: {every}"
            )
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(step.parameters(), clip_norm)
        optimizer.step()
        averaged.update()
        done.batches += 1
        done.figure += figure
        after_batch()


def _totals(batch: Batch, processes: Processes) -> Totals:
    """Return what makes the loss a mean over the words, captions and photos of all processes.

    The gradients of the processes are averaged, so the share of each in the sums is scaled by the
    number of processes.
    """
    counts = [int((batch.lengths - 1).sum()), len(batch.lengths), len(batch.photos)]
    return Totals(*(n / processes.world for n in processes.sum([float(n) for n in counts])))
