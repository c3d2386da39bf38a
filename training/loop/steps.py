"""Steps: a batch goes in, a loss comes out. One module each, for gradients over processes."""

from __future__ import annotations

from typing import ClassVar, NamedTuple, Self

import torch
from torch import nn

from model.network import ShowAttendTell
from training.data.batches import Batch
from training.loop.losses import CaptionLoss
from training.network.encoders import FrozenEncoder, LearningEncoder


class Totals(NamedTuple):
    """Counts that the sums over a batch are divided by, scaled to a process's share of the mean."""

    words: float  # to predict, with the ends
    captions: float
    photos: float


class Step(nn.Module):
    """The step of a stage: a batch goes in, a loss comes out.

    ``forward`` returns a scalar to minimise and the figure to report, its mean over the batch.
    """

    figure: ClassVar[str]  # name of the figure in metrics.jsonl

    def __init__(self, network: ShowAttendTell) -> None:
        super().__init__()
        self.network = network
        learns = any(p.requires_grad for p in network.encoder.parameters())
        self._encode = (LearningEncoder if learns else FrozenEncoder)(network.encoder)

    def train(self, mode: bool = True) -> Self:
        """Switch to training, but keep the encoder's BatchNorm at ImageNet's statistics.

        The statistics of a small batch are worse, and would depend on how many processes share it.
        """
        super().train(mode)
        for module in self.network.encoder.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self

    def grid(self, batch: Batch) -> torch.Tensor:
        """Return the grids of the photos; with a frozen encoder the batch may hold them already."""
        grid = batch.images
        if grid.dtype == torch.uint8:
            grid = self._encode(grid)
        return grid.to(self.network.decoder.fc.weight.dtype)

    def forward(self, batch: Batch, totals: Totals) -> tuple[torch.Tensor, torch.Tensor]:
        raise NotImplementedError


class CrossEntropyStep(Step):
    """Teacher forcing: the loss of each word, given the words before it."""

    figure = "loss"

    def __init__(self, network: ShowAttendTell, criterion: CaptionLoss) -> None:
        super().__init__(network)
        self.criterion = criterion

    def forward(self, batch: Batch, totals: Totals) -> tuple[torch.Tensor, torch.Tensor]:
        forced = self.network.decoder(
            self.grid(batch), batch.captions, batch.lengths, batch.image_of
        )
        loss: torch.Tensor = self.criterion(
            forced, totals.words, totals.captions, batch.soft_targets
        )
        return loss, loss.detach()
