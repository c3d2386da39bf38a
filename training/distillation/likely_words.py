"""The words that a captioner holds likely at each place of captions that it is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from model.beam_search import M, StepDecoder
from model.word_map import WordMap


class LikelyWords(NamedTuple):
    """The K likeliest words at places of captions, photo after photo, caption after caption.

    A place is a word of a caption, or its end.
    """

    ids: torch.Tensor  # likeliest first, shape = (places, K)
    probabilities: torch.Tensor  # the same shape


@torch.inference_mode()
def likely_words(
    decoder: StepDecoder[M],
    grid: torch.Tensor,
    word_map: WordMap,
    captions: Sequence[Sequence[Sequence[str]]],
    count: int,
) -> LikelyWords:
    """Read captions word by word, and return what the decoder expected at every place.

    The captions of a photo run side by side, as the beams of a search do.

    Parameters
    ----------
    grid
        shape = (B, P, D)
    captions
        The words of each photo's captions; every photo has at least one.
    count
        K, at most V.
    """
    # Photos whose captions are over leave the work, so those with the longest come first.
    longest = [max(map(len, each)) + 1 for each in captions]  # places
    order = sorted(range(len(captions)), key=lambda photo: -longest[photo])
    running = [sum(n > t for n in longest) for t in range(max(longest))]
    read = _padded([[word_map.encode(words)[:-1] for words in captions[i]] for i in order], -1)
    is_place = read >= 0
    read, width = read.clamp(min=0).to(grid.device), read.shape[1]

    photos = torch.tensor(order, device=grid.device)
    memory, state = decoder.memory(grid[photos]), decoder.init_state(grid[photos])
    beams = torch.zeros(1, width, dtype=torch.long, device=grid.device)  # all go on from the first
    ids = torch.zeros(*read.shape, count, dtype=torch.long, device=grid.device)
    probabilities = grid.new_zeros(ids.shape)
    for t, n in enumerate(running):
        here = torch.arange(n, device=grid.device)
        memory, state = memory.select(here), state.select(here, beams.expand(n, -1))
        state, _ = decoder.step(read[:n, :, t], state, memory)
        likely = decoder.scores(state.hidden).softmax(dim=-1).topk(count)
        probabilities[:n, :, t], ids[:n, :, t] = likely
        beams = torch.arange(width, device=grid.device).unsqueeze(0)

    back = torch.tensor(order).argsort()
    mine = is_place[back]
    return LikelyWords(ids.cpu()[back][mine], probabilities.cpu()[back][mine])


def _padded(captions: Sequence[Sequence[Sequence[int]]], padding: int) -> torch.Tensor:
    """Return the ids of the captions of each photo, shape = (B, captions, words)."""
    width = max(map(len, captions))
    length = max(len(ids) for each in captions for ids in each)
    padded = torch.full((len(captions), width, length), padding)
    for photo, each in enumerate(captions):
        for place, ids in enumerate(each):
            padded[photo, place, : len(ids)] = torch.tensor(ids)
    return padded
