"""The loss of captions: those that people wrote, and what teachers hold likely in their places."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from model.decoder import TeacherForced
from training.data.soft_targets import SoftTargets


class CaptionLoss(nn.Module):
    """Cross-entropy per word plus doubly stochastic attention (Xu et al. 2015, equation 14).

    With soft targets a word's cross-entropy is that with their probabilities, and with the true
    word by what they leave to 1 (Hinton et al. 2015, https://arxiv.org/abs/1503.02531).

    Parameters
    ----------
    alpha_c
        Weight of ``mean((1 - sum over t of alpha_t) ** 2)``, which is small if a caption looks at
        all positions about equally.
    label_smoothing
        Share of the true word's target spread over all words, 0..1.
    """

    def __init__(self, alpha_c: float = 1.0, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.alpha_c, self.smoothing = alpha_c, label_smoothing
        self.cross_entropy = nn.CrossEntropyLoss(label_smoothing=label_smoothing, reduction="sum")

    def forward(
        self,
        forced: TeacherForced,
        words: float | None = None,
        captions: float | None = None,
        soft_targets: SoftTargets | None = None,
    ) -> torch.Tensor:
        """Return the loss, a scalar; padding counts for nothing.

        Parameters
        ----------
        words, captions
            Counts that the sums of the two terms are divided by; by default those of ``forced``,
            which may be a part of a larger batch.
        soft_targets
            What teachers hold likely, for the captions in the order of the decoder's input.
        """
        scores = forced.scores.data
        scores = scores if scores.dtype == torch.float64 else scores.float()
        targets = _packed(forced, forced.captions[:, 1:])
        if soft_targets is None:
            loss: torch.Tensor = self.cross_entropy(scores, targets)
        else:
            ids, probabilities = (_packed(forced, part[forced.sort_order]) for part in soft_targets)
            loss = self._soft_loss(scores, targets, ids, probabilities.to(scores.dtype))
        loss = loss / (words or len(targets))
        if self.alpha_c:
            seen = forced.alphas.sum(dim=1, dtype=scores.dtype)
            uneven = (1 - seen).square().mean(dim=1).sum()
            loss = loss + self.alpha_c * uneven / (captions or len(forced.captions))
        return loss

    def _soft_loss(
        self,
        scores: torch.Tensor,
        targets: torch.Tensor,
        ids: torch.Tensor,
        probabilities: torch.Tensor,
    ) -> torch.Tensor:
        """Return the sum over the words, from scores (words, V) and soft targets (words, K)."""
        log_probs = scores.gather(1, ids) - scores.logsumexp(dim=1, keepdim=True)
        hard = F.cross_entropy(scores, targets, reduction="none", label_smoothing=self.smoothing)
        rest = 1 - probabilities.sum(dim=1)
        return (rest * hard).sum() - (probabilities * log_probs).sum()


def _packed(forced: TeacherForced, of_captions: torch.Tensor) -> torch.Tensor:
    """Pack values of the sorted captions (N, T, ...) as the scores are: step by step.

    A step has only the captions that have not ended.
    """
    lengths = torch.tensor(forced.decode_lengths)
    packed: torch.Tensor = pack_padded_sequence(of_captions, lengths, batch_first=True).data
    return packed
