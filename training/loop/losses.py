"""The loss of captions that people wrote."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from model.decoder import TeacherForced


class CaptionLoss(nn.Module):
    """Cross-entropy per word plus doubly stochastic attention (Xu et al. 2015, equation 14).

    Parameters
    ----------
    alpha_c
        Weight of ``mean((1 - sum over t of alpha_t) ** 2)``, which is small if a caption looks at
        all positions about equally.
    label_smoothing
        Share of the target spread over all words, 0..1.
    """

    def __init__(self, alpha_c: float = 1.0, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.alpha_c = alpha_c
        self.cross_entropy = nn.CrossEntropyLoss(label_smoothing=label_smoothing, reduction="sum")

    def forward(
        self, forced: TeacherForced, words: float | None = None, captions: float | None = None
    ) -> torch.Tensor:
        """Return the loss, a scalar; padding counts for nothing.

        Parameters
        ----------
        words, captions
            Counts that the sums of the two terms are divided by; by default those of ``forced``,
            which may be a part of a larger batch.
        """
        # Packed as the scores are: step by step, only the captions that have not ended.
        targets = pack_padded_sequence(
            forced.captions[:, 1:], torch.tensor(forced.decode_lengths), batch_first=True
        )
        scores = forced.scores.data
        scores = scores if scores.dtype == torch.float64 else scores.float()
        loss: torch.Tensor = self.cross_entropy(scores, targets.data) / (words or len(targets.data))
        if self.alpha_c:
            seen = forced.alphas.sum(dim=1, dtype=scores.dtype)
            uneven = (1 - seen).square().mean(dim=1).sum()
            loss = loss + self.alpha_c * uneven / (captions or len(forced.captions))
        return loss
