"""Ensembles against their members, and against the mean of the members' probabilities."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from model.beam_search import beam_search
from model.config import ModelConfig
from model.decoding_options import DecodingOptions
from model.hypotheses import Hypothesis
from model.inference.prepared import PreparedDecoder
from model.network import ShowAttendTell
from model.word_map import SPECIAL, WordMap
from training.distillation.ensemble import Ensemble, Member

PHOTOS, P = 5, 4
OPTIONS = DecodingOptions(6, 4, max_length=7)


def member(config: ModelConfig, word_map: WordMap, seed: int, hidden: int = 20) -> ShowAttendTell:
    torch.manual_seed(seed)
    small = dataclasses.replace(config, vocabulary_size=len(word_map), hidden_size=hidden)
    network = ShowAttendTell(small).double().eval()
    with torch.no_grad():
        network.decoder.fc.weight.mul_(20)
        network.decoder.embedding.weight.mul_(10)
        network.decoder.init_h.weight.mul_(5)
    return network


def grids(network: ShowAttendTell, positions: int = P, seed: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    size = network.encoder.feature_size
    return torch.randn(PHOTOS, positions, size, generator=generator, dtype=torch.float64)


def same(found: list[list[Hypothesis]], wanted: list[list[Hypothesis]]) -> None:
    for one, other in zip(found, wanted, strict=True):
        assert [h.tokens for h in one] == [h.tokens for h in other]
        for a, b in zip(one, other, strict=True):
            assert a.score == pytest.approx(b.score, abs=1e-12)
            assert a.token_log_probs == pytest.approx(b.token_log_probs, abs=1e-12)
            torch.testing.assert_close(a.alphas, b.alphas)


@pytest.mark.parametrize("copies", [1, 3])
@pytest.mark.parametrize("as_served", [False, True])
def test_a_captioner_with_itself_captions_as_it_does_alone(
    config: ModelConfig, word_map: WordMap, copies: int, as_served: bool, device: torch.device
) -> None:
    network = member(config, word_map, 1).to(device)
    grid = grids(network).to(device)
    decoder = PreparedDecoder(network.decoder, torch.float64) if as_served else network.decoder
    ensemble = Ensemble([Member(decoder, word_map, grid[:1])] * copies)
    assert ensemble.word_map == word_map
    alone = beam_search(decoder, grid, word_map, OPTIONS)
    together = beam_search(ensemble, Ensemble.pack([grid] * copies), word_map, OPTIONS)
    assert len({tuple(h.tokens) for each in alone for h in each}) > 5
    same(together, alone)


def test_members_of_other_sizes_words_and_grids_take_the_mean_by_word(config: ModelConfig) -> None:
    """Step by step, against each member alone on words of its own."""
    maps = [
        WordMap({word: i for i, word in enumerate(words)})
        for words in (
            ["<pad>", "a", "dog", "cat", "<unk>", "<start>", "<end>"],
            ["<pad>", "cat", "a", "bird", "runs", "<unk>", "<start>", "<end>"],
        )
    ]
    networks = [member(config, maps[0], 1), member(config, maps[1], 2, hidden=12)]
    each_grid = [grids(networks[0]), grids(networks[1], 9, seed=4)]
    ensemble = Ensemble(
        [
            Member(network.decoder, words, grid[:1])
            for network, words, grid in zip(networks, maps, each_grid, strict=True)
        ]
    )
    common = ensemble.word_map
    assert set(common.words) == {"a", "dog", "cat", "bird", "runs", *SPECIAL}

    caption = ["a", "bird", "runs", "cat"]  # the first member reads two of them as <unk>
    packed = Ensemble.pack(each_grid)
    state, memory = ensemble.init_state(packed), ensemble.memory(packed)
    tokens = [common.encode(caption), *(words.encode(caption) for words in maps)]
    states = [
        network.decoder.init_state(grid) for network, grid in zip(networks, each_grid, strict=True)
    ]
    for t in range(5):
        read = [torch.full((PHOTOS, 1), ids[t]) for ids in tokens]
        state, _ = ensemble.step(read[0], state, memory)
        found = ensemble.scores(state.hidden).exp()
        wanted = torch.zeros_like(found)
        for i, (network, words) in enumerate(zip(networks, maps, strict=True)):
            own = network.decoder.memory(each_grid[i])
            states[i], _ = network.decoder.step(read[i + 1], states[i], own)
            of_words = network.decoder.scores(states[i].hidden).softmax(-1)
            for place, word in enumerate(words.words):
                wanted[..., common.words.index(word)] += of_words[..., place] / 2
        torch.testing.assert_close(found, wanted)
        torch.testing.assert_close(found.sum(-1), torch.ones_like(found[..., 0]))


def test_the_search_of_an_ensemble_is_the_same_in_a_batch_and_alone(
    config: ModelConfig, word_map: WordMap
) -> None:
    networks = [member(config, word_map, seed) for seed in (1, 2)]
    each_grid = [grids(network, seed=seed) for seed, network in enumerate(networks)]
    ensemble = Ensemble(
        [
            Member(network.decoder, word_map, grid[:1])
            for network, grid in zip(networks, each_grid, strict=True)
        ]
    )
    batch = beam_search(ensemble, Ensemble.pack(each_grid), word_map, OPTIONS)
    for photo in range(PHOTOS):
        own = [grid[photo : photo + 1] for grid in each_grid]
        same(beam_search(ensemble, Ensemble.pack(own), word_map, OPTIONS), [batch[photo]])
    alone = beam_search(networks[0].decoder, each_grid[0], word_map, OPTIONS)
    assert [h[0].tokens for h in batch] != [h[0].tokens for h in alone]
