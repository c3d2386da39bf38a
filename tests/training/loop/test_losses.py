from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_packed_sequence

from model.network import ShowAttendTell
from training.data.soft_targets import SoftTargets
from training.loop.losses import CaptionLoss

CAPTIONS = torch.tensor([[8, 1, 9, 0, 0], [8, 1, 2, 5, 9], [8, 3, 6, 9, 0]])
LENGTHS = torch.tensor([3, 5, 4])


def forced(network: ShowAttendTell):
    generator = torch.Generator().manual_seed(3)
    grid = torch.randn(3, 9, network.encoder.feature_size, generator=generator)
    return network.decoder(grid, CAPTIONS, LENGTHS)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_over_real_words_only(network: ShowAttendTell, smoothing: float) -> None:
    output = forced(network)
    scores, lengths = pad_packed_sequence(output.scores, batch_first=True)
    losses = [
        cross_entropy(scores[row, t], output.captions[row, t + 1], label_smoothing=smoothing)
        for row, length in enumerate(lengths.tolist())
        for t in range(length)
    ]
    assert len(losses) == 2 + 4 + 3
    wanted = torch.stack(losses).mean()
    torch.testing.assert_close(CaptionLoss(0.0, smoothing)(output), wanted)


def test_doubly_stochastic_term(network: ShowAttendTell) -> None:
    output = forced(network)
    wanted = sum(
        (1 - output.alphas[row, :, p].sum()) ** 2 for row in range(3) for p in range(9)
    ) / (3 * 9)
    difference = CaptionLoss(2.0)(output) - CaptionLoss(0.0)(output)
    torch.testing.assert_close(difference, 2 * wanted)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_soft_targets_share_the_loss_with_the_true_word(
    network: ShowAttendTell, smoothing: float
) -> None:
    """Word by word: the cross-entropy with probabilities that the true word completes to 1."""
    output = forced(network)
    generator = torch.Generator().manual_seed(4)
    ids = torch.rand(3, 4, 10, generator=generator).argsort(dim=-1)[..., :3]
    shares = torch.tensor([0.4, 1.0, 0.0])  # of each caption
    probabilities = torch.rand(3, 4, 3, generator=generator).softmax(-1) * shares[:, None, None]
    scores, lengths = pad_packed_sequence(output.scores, batch_first=True)
    losses = []
    for row, length in enumerate(lengths.tolist()):
        caption = output.sort_order[row]
        for t in range(length):
            soft = torch.zeros(10).scatter(0, ids[caption, t], probabilities[caption, t])
            true = output.captions[row, t + 1]
            hard = cross_entropy(scores[row, t], true, label_smoothing=smoothing)
            losses.append(cross_entropy(scores[row, t], soft) + (1 - shares[caption]) * hard)
    found = CaptionLoss(0.0, smoothing)(output, soft_targets=SoftTargets(ids, probabilities))
    torch.testing.assert_close(found, torch.stack(losses).mean())


def test_soft_targets_without_probabilities_change_nothing(network: ShowAttendTell) -> None:
    output, loss = forced(network), CaptionLoss(1.0, 0.1)
    nothing = SoftTargets(torch.zeros(3, 4, 2, dtype=torch.long), torch.zeros(3, 4, 2))
    torch.testing.assert_close(loss(output, soft_targets=nothing), loss(output))
