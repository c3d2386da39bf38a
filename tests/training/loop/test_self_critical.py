"""Captions that beam search finds become likelier the more they are rewarded."""

from __future__ import annotations

import pytest
import torch

from model.beam_search import beam_search
from model.decoding_options import DecodingOptions
from model.network import ShowAttendTell
from model.word_map import WordMap
from training.data.batches import Batch
from training.data.photo import Photo
from training.loop.self_critical import SelfCriticalStep
from training.loop.steps import Totals
from training.scoring.cider import CiderD

PHOTOS, SAMPLES = 3, 4
SEARCH = DecodingOptions(SAMPLES, SAMPLES, max_length=6, length_penalty=0.7)


@pytest.fixture
def batch(network: ShowAttendTell) -> Batch:
    network.double()
    generator = torch.Generator().manual_seed(2)
    size = network.encoder.feature_size
    grid = torch.randn(PHOTOS, 4, size, dtype=torch.float64, generator=generator)
    nothing = torch.zeros(0, dtype=torch.long)
    photos = [Photo(f"{i}.jpg", ()) for i in range(PHOTOS)]
    return Batch(photos, grid, nothing, nothing, nothing)


@pytest.fixture
def reward(word_map: WordMap) -> CiderD:
    words = word_map.words
    return CiderD({f"{i}.jpg": [[words[1 + i], words[4 + i], "<end>"]] for i in range(PHOTOS)})


def found_by(network: ShowAttendTell, batch: Batch, word_map: WordMap) -> list[list[list[str]]]:
    found = beam_search(network.eval().decoder, batch.images, word_map, SEARCH)
    return [[[word_map.words[i] for i in h.tokens] + ["<end>"] for h in each] for each in found]


def test_is_the_policy_gradient_of_what_the_search_finds(
    network: ShowAttendTell,
    batch: Batch,
    word_map: WordMap,
    reward: CiderD,
    device: torch.device,
) -> None:
    """The search's own log-probabilities, times rewards less the mean of a photo's others."""
    network, batch = network.to(device), batch.to(device)
    step = SelfCriticalStep(network, word_map, reward, SEARCH).train()
    loss, mean = step(batch, Totals(0, 0, PHOTOS))
    found = beam_search(network.eval().decoder, batch.images, word_map, SEARCH)
    rewards = torch.tensor(
        [
            reward.scores(photo.name, words)
            for photo, words in zip(batch.photos, found_by(network, batch, word_map), strict=True)
        ]
    )
    log_probs = torch.tensor([[h.log_prob for h in each] for each in found])
    others = (rewards.sum(dim=1, keepdim=True) - rewards) / (SAMPLES - 1)
    wanted = -((rewards - others) * log_probs).sum() / (PHOTOS * SAMPLES)
    assert rewards.std() > 0
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-4)
    assert mean.item() == pytest.approx(rewards.mean().item(), rel=1e-4)
    assert network.decoder.training is False  # as it was left here

    loss.backward()
    gradients = [p.grad for p in network.decoder.parameters() if p.grad is not None]
    assert gradients
    assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.slow
def test_learns_to_say_what_is_rewarded(
    network: ShowAttendTell, batch: Batch, word_map: WordMap, reward: CiderD
) -> None:
    step = SelfCriticalStep(network, word_map, reward, SEARCH).train()
    optimizer = torch.optim.Adam(network.decoder.parameters(), lr=0.02)
    means = []
    for _ in range(60):
        loss, mean = step(batch, Totals(0, 0, PHOTOS))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        means.append(mean.item())
    assert step.network.decoder.training
    assert means[-1] > 2 * means[0]
