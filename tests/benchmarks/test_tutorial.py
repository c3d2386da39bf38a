from __future__ import annotations

import pytest
import torch

from benchmarks.tutorial import MAX_STEPS, TutorialCaptioner, pooled
from model.network import ShowAttendTell
from model.word_map import WordMap


@torch.no_grad()
def greedy(network: ShowAttendTell, grid: torch.Tensor, start: int, end: int) -> list[int]:
    """The likeliest word at every step, from the network's own step on the grid (P, D) as it is."""
    decoder = network.decoder
    grid = grid.unsqueeze(0)
    state, memory = decoder.init_state(grid), decoder.memory(grid)
    words = [start]
    while len(words) <= MAX_STEPS:
        state, _ = decoder.step(torch.tensor([[words[-1]]]), state, memory)
        words.append(int(decoder.scores(state.hidden).argmax()))
        if words[-1] == end:
            return words[1:-1]
    return words[1:]


def test_one_beam_is_greedy(network: ShowAttendTell, word_map: WordMap) -> None:
    tutorial = TutorialCaptioner(network, word_map)
    grids = torch.randn(12, 9, network.encoder.feature_size)
    found = [tutorial.search(grid, 1) for grid in pooled(grids)]
    assert found == [greedy(network, g, word_map.start, word_map.end) for g in pooled(grids)]
    assert len(set(map(len, found))) > 1  # some of them end


@torch.no_grad()
def one_by_one(network: ShowAttendTell, grid: torch.Tensor, words: WordMap, k: int) -> list[int]:
    """A beam that shrinks as captions end, every hypothesis on its own, nothing stacked."""
    decoder, grid = network.decoder, grid.unsqueeze(0)
    memory = decoder.memory(grid)
    running, ended = [(0.0, [words.start], decoder.init_state(grid))], []
    for _ in range(MAX_STEPS):
        found = []
        for score, caption, state in running:
            after, _ = decoder.step(torch.tensor([[caption[-1]]]), state, memory)
            log_probs = decoder.scores(after.hidden).log_softmax(dim=-1).flatten().tolist()
            found += [(score + p, [*caption, word], after) for word, p in enumerate(log_probs)]
        found = sorted(found, key=lambda each: -each[0])[: k - len(ended)]
        ended += [each for each in found if each[1][-1] == words.end]
        running = [each for each in found if each[1][-1] != words.end]
        if not running:
            break
    best = max(ended or running, key=lambda each: each[0])[1]
    return [word for word in best[1:] if word != words.end]


@pytest.mark.parametrize("beam", [2, 5, 10])
def test_the_beam_shrinks(network: ShowAttendTell, word_map: WordMap, beam: int) -> None:
    tutorial = TutorialCaptioner(network, word_map)
    for grid in pooled(torch.randn(6, 9, network.encoder.feature_size)):
        assert tutorial.search(grid, beam) == one_by_one(network, grid, word_map, beam)


@pytest.mark.parametrize("beam", [1, 4])
def test_a_caption_that_never_ends_is_cut(
    network: ShowAttendTell, word_map: WordMap, beam: int
) -> None:
    with torch.no_grad():
        network.decoder.fc.bias[word_map.end] = -1e9
    tutorial = TutorialCaptioner(network, word_map)
    grid = pooled(torch.randn(1, 9, network.encoder.feature_size))[0]
    assert len(tutorial.search(grid, beam)) == MAX_STEPS


def test_from_bytes(
    network: ShowAttendTell, word_map: WordMap, render, device: torch.device
) -> None:
    tutorial = TutorialCaptioner(network.to(device), word_map)
    grid = tutorial.encode(render())
    assert grid.shape == (196, network.encoder.feature_size)
    assert tutorial.caption(render(), 3) == word_map.decode(tutorial.search(grid, 3))


def test_pooling_up_repeats_cells() -> None:
    grid = torch.randn(2, 49, 5)
    square = grid.view(2, 7, 7, 5)
    expected = square.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)
    torch.testing.assert_close(pooled(grid), expected.reshape(2, 196, 5))
