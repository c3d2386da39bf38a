"""One epoch of training, one of validation. Everything they use is an argument."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import nn

from model.beam_search import DecodingOptions
from model.captioner import Captioner
from model.network import ShowAttendTell
from training.averaging import AveragedWeights
from training.batches import ENCODING_BATCH, Batch, EncodedSplit, decoded_batches
from training.datasets import Example
from training.metrics import score
from training.progress import progress

VALIDATION_BATCH = 64


def train_one_epoch(
    network: ShowAttendTell,
    batches: Iterable[Batch],
    total: int,
    criterion: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    averaged: AveragedWeights,
    clip_norm: float,
    device: torch.device,
    bf16: bool,
    what: str,
) -> float:
    """Train the decoder on encoded photos; the mean loss of the batches.

    Raises
    ------
    ValueError
        A loss is not finite; the weights are those before that batch.
    """
    network.train()
    losses: list[float] = []
    for i, batch in enumerate(progress(batches, total, what)):
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            forced = network.decoder(
                batch.grid.to(device),
                batch.captions.to(device),
                batch.lengths.to(device),
                batch.image_of.to(device),
            )
            loss = criterion(forced)
        value = loss.item()
        if not math.isfinite(value):
            raise ValueError(f"{what}: the loss of batch {i} is {value}; lower the learning rate")
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), clip_norm)
        optimizer.step()
        schedule.step()
        averaged.update()
        losses.append(value)
    return sum(losses) / len(losses)


def evaluate(
    captioner: Captioner,
    split: EncodedSplit,
    options: DecodingOptions,
    device: torch.device,
) -> dict[str, float]:
    """Scores of the captions that would be served: by beam search, never by teacher forcing."""
    captioner.network.eval()
    texts = []
    for start in range(0, len(split), VALIDATION_BATCH):
        grid = split.grids[start : start + VALIDATION_BATCH].to(device).float()
        texts += [captions[0].text for captions in captioner.caption_grid(grid, options)]
    return score(texts, split.captions)


def evaluate_photos(
    captioner: Captioner, examples: Sequence[Example], options: DecodingOptions
) -> dict[str, float]:
    """As `evaluate`, all the way from the photos' files."""
    batches = decoded_batches(
        [example.path for example in examples], captioner.network.config.image_size
    )
    texts: list[str] = []
    total = -(-len(examples) // ENCODING_BATCH)
    for photos in progress(batches, total, f"captioning {len(examples)} photos"):
        texts += [captions[0].text for captions in captioner.caption_photos(photos, options)]
    return score(texts, [example.captions for example in examples])
