"""Self-critical training: sampled captions are rewarded for being better than their fellows.

Policy gradient on CIDEr-D (Rennie et al. 2017, https://arxiv.org/abs/1612.00563); the baseline of a
sample is the mean reward of the photo's other samples (Luo 2020, https://arxiv.org/abs/2003.09971).
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from model.decoder import Decoder, DecoderState
from model.network import ShowAttendTell
from model.word_map import WordMap
from training.batches import Batch
from training.cider import CiderD
from training.steps import Step, Totals


class Samples(NamedTuple):
    """Captions drawn for B photos, K for each."""

    tokens: torch.Tensor  # words, ``<end>`` where a caption ends, then padding, shape = (B, K, T)
    log_prob: torch.Tensor  # of a caption's tokens together, shape = (B, K)


class SelfCriticalStep(Step):
    """Policy gradient; reports the mean reward.

    The reward is over the words and ``<end>``, so that to stop in the wrong place costs as a wrong
    word does: without it captions learn to end in "with a".
    """

    def __init__(
        self,
        network: ShowAttendTell,
        word_map: WordMap,
        reward: CiderD,
        samples: int,
        max_length: int,
    ) -> None:
        super().__init__(network)
        self.word_map, self.reward = word_map, reward
        self.samples, self.max_length = samples, max_length

    def forward(self, batch: Batch, totals: Totals) -> tuple[torch.Tensor, torch.Tensor]:
        grid = self.grid(batch)
        drawn = sample(self.network.decoder, grid, self.word_map, self.samples, self.max_length)
        rewards = torch.tensor(
            [
                self.reward.scores(row, map(self._words, captions))
                for row, captions in zip(batch.rows, drawn.tokens.tolist(), strict=True)
            ],
            device=grid.device,
        )
        # The reward less the mean of the others'.
        advantage = (rewards - rewards.mean(dim=1, keepdim=True)) * (
            self.samples / (self.samples - 1)
        )
        captions = totals.photos * self.samples
        loss = -(advantage * drawn.log_prob).sum() / captions
        return loss, rewards.sum() / captions

    def _words(self, tokens: list[int]) -> list[str]:
        return [self.word_map.words[token] for token in tokens if token != self.word_map.pad]


def sample(
    decoder: Decoder, grid: torch.Tensor, word_map: WordMap, samples: int, max_length: int
) -> Samples:
    """Draw captions word by word from the distribution that beam search looks for the best of.

    Special tokens other than ``<end>`` have no probability, nor has a caption without words. What
    has not ended after ``max_length`` tokens stays without ``<end>``.

    Parameters
    ----------
    grid
        shape = (B, P, D)
    samples
        K
    """
    # A row a caption, so that those that have ended leave the batch.
    photo_of = torch.arange(len(grid), device=grid.device).repeat_interleave(samples)
    memory, state = decoder.memory(grid).select(photo_of), decoder.init_state(grid)
    state = DecoderState(state.hidden[photo_of], state.cell[photo_of])
    never = [word_map.pad, word_map.start, word_map.unk]
    drawn = torch.full((len(photo_of), max_length), word_map.pad, device=grid.device)
    total = grid.new_zeros(len(photo_of))
    rows = torch.arange(len(photo_of), device=grid.device)
    running = torch.ones_like(rows, dtype=torch.bool)
    tokens = torch.full((len(rows), 1), word_map.start, device=grid.device)
    for t in range(max_length):
        state, _ = decoder.step(tokens, state, memory)
        scores = decoder.scores(state.hidden).squeeze(1)
        scores = scores if scores.dtype == torch.float64 else scores.float()
        scores[:, never if t else [*never, word_map.end]] = -torch.inf
        log_probs = scores.log_softmax(dim=-1)
        tokens = log_probs.detach().exp().multinomial(1)
        drawn[rows, t] = tokens.squeeze(1).where(running, word_map.pad)
        total = total.index_add(0, rows, log_probs.gather(1, tokens).squeeze(1) * running)
        running = running & (tokens.squeeze(1) != word_map.end)
        count = int(running.sum())
        if count == 0:
            break
        if count <= len(rows) * 3 // 4:  # copies what is left of the grids, so not every time
            rows, tokens, memory = rows[running], tokens[running], memory.select(running)
            state = DecoderState(state.hidden[running], state.cell[running])
            running = running[running]
    shape = (len(grid), samples)
    return Samples(drawn.view(*shape, max_length), total.view(shape))
