"""The network: encoder and decoder, from one configuration."""

from __future__ import annotations

import torch
from torch import nn

from model.config import ModelConfig
from model.decoder import Decoder, TeacherForced
from model.encoder import Encoder


class ShowAttendTell(nn.Module):
    """Show, Attend and Tell with soft attention (Xu et al. 2015, https://arxiv.org/abs/1502.03044).

    The encoder starts frozen; ``encoder.fine_tune()`` lets its upper stages learn.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config, self.encoder.feature_size)
        self.encoder.fine_tune(False)

    def forward(
        self,
        photos: torch.Tensor,
        captions: torch.Tensor,
        caption_lengths: torch.Tensor,
        image_of: torch.Tensor | None = None,
    ) -> TeacherForced:
        """Encode photos (B, 3, H, W), each once, and run `Decoder.forward` on their grids."""
        forced: TeacherForced = self.decoder(
            self.encoder(photos), captions, caption_lengths, image_of
        )
        return forced
