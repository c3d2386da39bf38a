"""The whole network from one configuration."""

from __future__ import annotations

from typing import Self

import torch
from torch import nn

from model.config import ModelConfig
from model.decoder import Decoder, TeacherForced
from model.encoder import Encoder


class ShowAttendTell(nn.Module):
    """Show, Attend and Tell with soft attention (Xu et al. 2015, https://arxiv.org/abs/1502.03044).

    The encoder starts frozen, ``encoder.fine_tune()`` lets its upper stages learn.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.prepared = False
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config, self.encoder.feature_size)
        self.encoder.fine_tune(False)

    @torch.no_grad()
    def prepare(self, encoder: torch.dtype, decoder: torch.dtype) -> None:
        """Make inference fast, for good: weights are folded and arranged, and no longer trained.

        Parameters
        ----------
        encoder, decoder
            What the encoder's convolutions and the decoder's products are computed in.
        """
        self.eval().requires_grad_(False)
        self.encoder.prepare(encoder)
        self.decoder.prepare(decoder)
        self.prepared = True

    def train(self, mode: bool = True) -> Self:
        """As `nn.Module.train`; raises `RuntimeError` for a network prepared for inference."""
        if mode and self.prepared:
            raise RuntimeError("this network is prepared for inference; train a freshly loaded one")
        return super().train(mode)

    def forward(
        self,
        photos: torch.Tensor,
        captions: torch.Tensor,
        caption_lengths: torch.Tensor,
        image_of: torch.Tensor | None = None,
    ) -> TeacherForced:
        """`Decoder.forward` on the encoded photos (B, 3, H, W), each encoded once."""
        forced: TeacherForced = self.decoder(
            self.encoder(photos), captions, caption_lengths, image_of
        )
        return forced
