"""One epoch of training. Everything that it uses is an argument."""

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
class EpochSoFar:
    """Where an epoch stands; part of what a training resumes from."""

    batches: int = 0
    figure: float = 0.0  # what the step reports, summed over the batches


def train_one_epoch(
    *,
    step: nn.Module,
    batches: Iterable[Batch],
    total: int,
    so_far: EpochSoFar,
    optimizer: torch.optim.Optimizer,
    set_rates: Callable[[int], None],
    averaged: AveragedWeights,
    clip_norm: float,
    bf16: bool,
    processes: Processes,
    after_batch: Callable[[], None],
    what: str,
) -> None:
    """Train on the batches that are left of an epoch.

    Parameters
    ----------
    step
        A `training.loop.steps.Step`, wrapped in DistributedDataParallel if there are several
        processes.
    total
        Batches in the whole epoch.
    so_far
        Kept up to date.
    set_rates
        Called with the number of a batch before it, to set the learning rates.
    after_batch
        Called after every batch.

    Raises
    ------
    ValueError
        A loss is not finite; names the photos. The weights are those before that batch.
    """
    step.train()
    device = processes.device
    for batch in progress(batches, total, what, done=so_far.batches):
        set_rates(so_far.batches)
        # A mean over all processes' words: their gradients are averaged, so the share of each in
        # the sum is scaled by how many they are.
        counts = [int((batch.lengths - 1).sum()), len(batch.lengths), len(batch.names)]
        totals = Totals(*(n / processes.world for n in processes.sum([float(n) for n in counts])))
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            loss, figure = step(batch.to(device), totals)
        value, figure = processes.sum([part.item() / processes.world for part in (loss, figure)])
        if not math.isfinite(value):
            # The sum does not tell whose part of the batch it was.
            names = ", ".join(itertools.chain(*processes.gather(batch.names)))
            raise ValueError(
                f"{what}: the loss of batch {so_far.batches} is {value}; lower the learning rate,"
                f" or look at its photos: {names}"
            )
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(step.parameters(), clip_norm)
        optimizer.step()
        averaged.update()
        so_far.batches += 1
        so_far.figure += figure
        after_batch()
