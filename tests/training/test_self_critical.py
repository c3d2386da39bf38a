"""Sampled captions are the decoder's own, and what is rewarded becomes likelier."""

from __future__ import annotations

import pytest
import torch

from model.decoder import Decoder
from model.network import ShowAttendTell
from model.word_map import WordMap
from training.batches import Batch
from training.cider import CiderD
from training.self_critical import SelfCriticalStep, sample
from training.steps import Totals

PHOTOS, SAMPLES = 3, 4


@pytest.fixture
def decoder(network: ShowAttendTell) -> Decoder:
    torch.manual_seed(1)
    return network.double().decoder.eval()


@pytest.fixture
def grid(network: ShowAttendTell) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    size = network.encoder.feature_size
    return torch.randn(PHOTOS, 4, size, dtype=torch.float64, generator=generator)


def test_samples_have_their_probability_under_teacher_forcing(
    decoder: Decoder, grid: torch.Tensor, word_map: WordMap
) -> None:
    """Special tokens have none, and there is no caption without words."""
    tokens, log_prob = sample(decoder, grid, word_map, SAMPLES, max_length=6)
    assert tokens.shape == (PHOTOS, SAMPLES, 6)
    assert log_prob.shape == (PHOTOS, SAMPLES)
    never = [word_map.pad, word_map.start, word_map.unk]
    for photo in range(PHOTOS):
        for drawn, theirs in zip(tokens[photo], log_prob[photo], strict=True):
            length = int((drawn != word_map.pad).sum())
            assert (drawn[length:] == word_map.pad).all()
            assert word_map.end not in drawn[: max(1, length - 1)]
            assert not set(never) & set(drawn[:length].tolist())
            forced = decoder(
                grid[photo : photo + 1],
                torch.cat([torch.tensor([word_map.start]), drawn[:length]]).unsqueeze(0),
                torch.tensor([length + 1]),
            )
            scores = forced.scores.data.clone()
            scores[:, never] = -torch.inf
            scores[0, word_map.end] = -torch.inf
            wanted = scores.log_softmax(dim=-1).gather(1, drawn[:length, None]).sum()
            torch.testing.assert_close(theirs, wanted)
    ended = (tokens == word_map.end).any(dim=-1)
    assert ended.any()
    assert (ended | (tokens[..., -1] != word_map.pad)).all()


def test_every_word_is_drawn_as_often_as_it_is_likely(
    decoder: Decoder, grid: torch.Tensor, word_map: WordMap
) -> None:
    torch.manual_seed(3)
    many = 20_000
    tokens, log_prob = sample(decoder, grid[:1], word_map, many, max_length=1)
    for word in tokens.unique().tolist():
        chosen = tokens[..., 0] == word
        share = float(chosen.double().mean())
        assert share == pytest.approx(log_prob[chosen][0].exp().item(), abs=0.02)


def batch_of(grid: torch.Tensor) -> Batch:
    nothing = torch.zeros(0, dtype=torch.long)
    rows = list(range(len(grid)))
    return Batch([str(row) for row in rows], rows, grid, nothing, nothing, nothing)


def test_the_gradient_is_that_of_the_expected_reward(
    network: ShowAttendTell, decoder: Decoder, grid: torch.Tensor, word_map: WordMap
) -> None:
    """Of captions of one word, whose expected reward can be summed over all words."""
    words = word_map.words
    reward = CiderD({0: [[words[5]]], 1: [[words[6]]], 2: [[words[5]]]})
    bias = decoder.fc.bias
    scores = decoder.scores(
        decoder.step(
            torch.full((PHOTOS, 1), word_map.start), decoder.init_state(grid), decoder.memory(grid)
        )[0].hidden
    )[:, 0]
    scores[:, [word_map.pad, word_map.start, word_map.unk, word_map.end]] = -torch.inf
    worth = torch.tensor([reward.scores(photo, [[w] for w in words]) for photo in range(PHOTOS)])
    expected = (scores.softmax(dim=-1) * worth).sum() / PHOTOS
    (wanted,) = torch.autograd.grad(-expected, bias)

    torch.manual_seed(4)
    step = SelfCriticalStep(network, word_map, reward, samples=20_000, max_length=1).eval()
    loss, mean = step(batch_of(grid), Totals(0, 0, PHOTOS))
    (found,) = torch.autograd.grad(loss, bias)
    assert mean.item() == pytest.approx(expected.item(), rel=0.1)
    torch.testing.assert_close(found, wanted, atol=0.05 * wanted.abs().max().item(), rtol=0)


def test_learns_to_say_what_is_rewarded(
    network: ShowAttendTell, decoder: Decoder, grid: torch.Tensor, word_map: WordMap
) -> None:
    words, end = word_map.words, word_map.words[word_map.end]
    wanted = {photo: [[words[1 + photo], words[4 + photo], end]] for photo in range(PHOTOS)}
    torch.manual_seed(5)
    step = SelfCriticalStep(network, word_map, CiderD(wanted), samples=10, max_length=6)
    optimizer = torch.optim.Adam(decoder.parameters(), lr=0.02)
    means = []
    for _ in range(60):
        loss, mean = step(batch_of(grid), Totals(0, 0, PHOTOS))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        means.append(mean.item())
    assert sum(means[-5:]) > 2 * sum(means[:5])
