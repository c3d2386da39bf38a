"""Several captioners that caption together: the mean of their probabilities, word by word.

An `Ensemble` offers what `model.beam_search` asks of a decoder, so the search is the same. Its
members may have encoders, sizes and words of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple

import torch

from model.beam_search import StepDecoder
from model.decoding_step import DecoderState, Memory
from model.word_map import WordMap


class Member(NamedTuple):
    """One captioner of an ensemble."""

    decoder: StepDecoder[Memory]
    word_map: WordMap
    grid: torch.Tensor  # of any photo, for its shape, type and device: shape = (1, P, D)


class EnsembleMemory(NamedTuple):
    """The memory of each member."""

    each: tuple[Memory, ...]

    def select(self, images: torch.Tensor) -> EnsembleMemory:
        """Return the memory of some of the images."""
        return EnsembleMemory(tuple(memory.select(images) for memory in self.each))


class Ensemble:
    """Decoders side by side: H is the sum of their hidden sizes, V counts the words of them all.

    A word that some members do not know has the sum of the others' probabilities, divided by the
    number of all members.

    Parameters
    ----------
    members
        At least one. Their grids have one type and device.
    """

    def __init__(self, members: Sequence[Member]) -> None:
        self._decoders = [member.decoder for member in members]
        self._shapes = [member.grid.shape[1:] for member in members]
        states = [member.decoder.init_state(member.grid) for member in members]
        self._hidden_sizes = [state.hidden.shape[-1] for state in states]
        maps = [member.word_map for member in members]
        self.word_map = reduce(WordMap.with_more, maps)
        device = members[0].grid.device
        self._own_ids = [_own_ids(self.word_map, each).to(device) for each in maps]
        # The place of each of a member's words among all; None where they are the same.
        self._places = [
            None if each == self.word_map else _own_ids(each, self.word_map).to(device)
            for each in maps
        ]

    @staticmethod
    def pack(grids: Sequence[torch.Tensor]) -> torch.Tensor:
        """Put the members' grids (B, P, D), which may differ in shape, side by side, (B, ...)."""
        return torch.cat([grid.flatten(1) for grid in grids], dim=1)

    def memory(self, grid: torch.Tensor) -> EnsembleMemory:
        """Compute everything that the steps share, from what `pack` returned."""
        grids = zip(self._decoders, self._unpacked(grid), strict=True)
        return EnsembleMemory(tuple(decoder.memory(own) for decoder, own in grids))

    def init_state(self, grid: torch.Tensor) -> DecoderState:
        """Return the first state, from what `pack` returned; one beam an image."""
        grids = zip(self._decoders, self._unpacked(grid), strict=True)
        return _side_by_side([decoder.init_state(own) for decoder, own in grids])

    def step(
        self, tokens: torch.Tensor, state: DecoderState, memory: EnsembleMemory
    ) -> tuple[DecoderState, torch.Tensor]:
        """Read words (B, K); return the next state and the alpha of the first member (B, K, P)."""
        hidden, cell = (torch.split(part, self._hidden_sizes, dim=-1) for part in state[:2])
        states = [DecoderState(h, c, state.row) for h, c in zip(hidden, cell, strict=True)]
        each = zip(self._decoders, self._own_ids, states, memory.each, strict=True)
        after, alphas = zip(*(d.step(ids[tokens], own, m) for d, ids, own, m in each), strict=True)
        return _side_by_side(after), alphas[0]

    def scores(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the logarithm of the mean probability of each word, (..., H) to (..., V)."""
        total = hidden.new_zeros(*hidden.shape[:-1], len(self.word_map))
        parts = torch.split(hidden, self._hidden_sizes, dim=-1)
        for decoder, places, own in zip(self._decoders, self._places, parts, strict=True):
            probabilities = decoder.scores(own).softmax(dim=-1)
            if places is None:
                total += probabilities
            else:
                total.index_add_(-1, places, probabilities)
        total /= len(self._decoders)
        # A search must be able to end with a word whose probability is too small for the type.
        return total.clamp_(min=torch.finfo(total.dtype).tiny).log_()

    def _unpacked(self, grid: torch.Tensor) -> list[torch.Tensor]:
        parts = torch.split(grid, [shape.numel() for shape in self._shapes], dim=1)
        return [p.reshape(-1, *shape) for p, shape in zip(parts, self._shapes, strict=True)]


def _own_ids(word_map: WordMap, other: WordMap) -> torch.Tensor:
    """Return the id in ``other`` of each word of a map, shape = (V,); unknown words are <unk>."""
    return torch.tensor(other.encode(word_map.words)[1:-1])


def _side_by_side(states: Sequence[DecoderState]) -> DecoderState:
    hidden, cell = (
        torch.cat(parts, dim=-1) for parts in zip(*(s[:2] for s in states), strict=True)
    )
    return DecoderState(hidden, cell)
