"""One epoch of training, one of validation. Everything they use is an argument."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from model.captioner import Caption, Captioner
from model.decoding_options import DecodingOptions
from model.image import InvalidImage
from training.data.batches import Batch
from training.data.datasets import InvalidDataset, TarMember
from training.loop.averaging import AveragedWeights
from training.loop.steps import Totals
from training.processes import Processes
from training.reporting.progress import progress

VALIDATION_BATCH = 64


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


class Written(NamedTuple):
    """A caption, and what its confidence follows from."""

    text: str
    log_prob: float  # of the words and the end
    words: int  # how many the search wrote, the end not among them


def write_captions(
    captioner: Captioner,
    images: np.ndarray,
    rows: Sequence[int],
    options: DecodingOptions,
    processes: Processes,
) -> list[str]:
    """The texts of `describe`."""
    return [caption.text for caption in describe(captioner, images, rows, options, processes)]


def describe_files(
    captioner: Captioner, photos: Sequence[Path | TarMember], options: DecodingOptions
) -> list[Written]:
    """As `describe`, all the way from the photos' bytes, as they are served."""
    written: list[Written] = []
    starts = range(0, len(photos), VALIDATION_BATCH)
    for start in progress(starts, len(starts), f"captioning {len(photos)} photos"):
        chosen = photos[start : start + VALIDATION_BATCH]
        found = captioner.caption_each([photo.read_bytes() for photo in chosen], options)
        for photo, captions in zip(chosen, found, strict=True):
            if isinstance(captions, InvalidImage):
                raise InvalidDataset(f"{photo}: {captions}") from captions
            written.append(_written(captions))
    return written


def describe(
    captioner: Captioner,
    images: np.ndarray,
    rows: Sequence[int],
    options: DecodingOptions,
    processes: Processes,
) -> list[Written]:
    """The captions that would be served, by beam search; each process writes its share.

    Parameters
    ----------
    images
        Photos, uint8 (all, 3, S, S), or grids, float16 (all, P, D).
    rows
        Those to caption.
    """
    mine = rows[processes.rank :: processes.world]
    written: list[Written] = []
    for start in range(0, len(mine), VALIDATION_BATCH):
        batch = torch.from_numpy(images[mine[start : start + VALIDATION_BATCH]])
        if batch.dtype == torch.uint8:
            found = captioner.caption_photos(batch, options)
        else:
            found = captioner.caption_grid(batch, options)
        written += map(_written, found)
    shares = processes.gather(written)
    return [shares[i % processes.world][i // processes.world] for i in range(len(rows))]


def _written(captions: Sequence[Caption]) -> Written:
    best = captions[0]
    return Written(best.text, best.log_prob, len(best.words))
