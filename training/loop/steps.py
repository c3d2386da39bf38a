"""From a batch to what is minimised, as one module, so that gradients can be averaged."""

from __future__ import annotations

from typing import NamedTuple, Self

import torch
from torch import nn

from model.network import ShowAttendTell
from training.data.batches import Batch
from training.data.features import FrozenEncoder
from training.loop.fine_tuning import LearningEncoder
from training.loop.losses import CaptionLoss


class Totals(NamedTuple):
    """What the sums over a batch are divided by: counts over all processes, for each of them."""

    words: float  # to predict, ends included
    captions: float
    photos: float


class Step(nn.Module):
    """What a stage does with a batch.

    ``forward`` gives a scalar to minimise and the figure to report, its mean over the batch.
    """

    def __init__(self, network: ShowAttendTell) -> None:
        super().__init__()
        self.network = network
        learns = any(p.requires_grad for p in network.encoder.parameters())
        self._encode = (LearningEncoder if learns else FrozenEncoder)(network.encoder)

    def train(self, mode: bool = True) -> Self:
        """As `nn.Module.train`, but the encoder's BatchNorm keeps ImageNet's statistics.

        Those of a small batch are worse, and would depend on how many processes share it.
        """
        super().train(mode)
        for module in self.network.encoder.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self

    def grid(self, batch: Batch) -> torch.Tensor:
        """Of the batch's photos; with the encoder frozen they may be encoded already."""
        grid = batch.images
        if grid.dtype == torch.uint8:
            grid = self._encode(grid)
        return grid.to(self.network.decoder.fc.weight.dtype)

    def forward(self, batch: Batch, totals: Totals) -> tuple[torch.Tensor, torch.Tensor]:
        raise NotImplementedError


class CrossEntropyStep(Step):
    """Teacher forcing."""

    def __init__(self, network: ShowAttendTell, criterion: CaptionLoss) -> None:
        super().__init__(network)
        self.criterion = criterion

    def forward(self, batch: Batch, totals: Totals) -> tuple[torch.Tensor, torch.Tensor]:
        forced = self.network.decoder(
            self.grid(batch), batch.captions, batch.lengths, batch.image_of
        )
        loss: torch.Tensor = self.criterion(forced, totals.words, totals.captions)
        return loss, loss.detach()
