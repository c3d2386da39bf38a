"""Beam search over all photos of a batch at once.

The score of a caption of n words is ``log_prob / (n + 1) ** length_penalty``, where ``log_prob``
sums the log-probabilities of its words and of ``<end>``. A beam ends where ``<end>`` is among its
own K likeliest words, and also goes on. The search never emits special tokens other than ``<end>``,
a word twice in a row, an English content word twice, or a caption without words; their probability
is not spread over the others. Characters of scripts without spaces may follow themselves, as in
many a Chinese word. After ``max_length`` words only ``<end>`` may follow, so every hypothesis is a
whole caption.

The likeliest caption is not always the best one: see `model.consensus`. Where that chooses, beams
far behind the captions found are given up, as by Freitag and Al-Onaizan (2017,
https://aclanthology.org/W17-3207); see `SHORTFALL`.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol, Self, TypeVar

import numpy as np
import torch

from model.decoding_options import DecodingOptions
from model.decoding_step import Attended, DecoderState
from model.hypotheses import Hypothesis, Step, trace_back
from model.word_map import WordMap

# Steps between checks which photos still run, by kind of device; 4 for kinds not named here. A GPU
# runs ahead of the host, and a check makes both wait.
CHECK_EVERY = {"cpu": 1}
# Natural logarithms by which a beam may fall short of the log-probability with which it would, if
# it ended next, equal the last of the captions asked for. Of Flickr8k's validation photos
# CIDEr is within 0.002 with any value from 2 up; 2.5 leaves a fifth of the work out.
SHORTFALL = 2.5


class SearchMemory(Protocol):
    """The method of `model.decoding_step.Memory` that the search calls."""

    def select(self, images: torch.Tensor) -> Self: ...


M = TypeVar("M", bound=SearchMemory)


class StepDecoder(Protocol[M]):
    """The methods of `model.decoder.Decoder` and of a prepared decoder that the search calls."""

    def memory(self, grid: torch.Tensor) -> M: ...
    def init_state(self, grid: torch.Tensor) -> DecoderState: ...
    def step(
        self, tokens: torch.Tensor, state: DecoderState, memory: M
    ) -> tuple[DecoderState, torch.Tensor]: ...
    def scores(self, hidden: torch.Tensor) -> torch.Tensor: ...


@torch.inference_mode()
def beam_search(
    decoder: StepDecoder[M],
    grid: torch.Tensor,
    word_map: WordMap,
    options: DecodingOptions,
    attend_ahead: Callable[[DecoderState, M], Future[Attended]] | None = None,
) -> list[list[Hypothesis]]:
    """Return the best captions of every photo, best first.

    A beam is given up when it cannot enter the best captions that are kept: log-probabilities only
    fall, so its score is bounded by its present one at full length. With consensus it is also given
    up when it falls short of ``num_captions`` captions by more than `SHORTFALL`. A photo leaves the
    search when no beam of it runs.

    Parameters
    ----------
    grid
        shape = (B, P, D)
    attend_ahead
        Begins to compute `model.decoding_step.attend` beside this thread. It then attends with
        every beam before some are chosen, and needs no result of what this thread meanwhile
        computes: the scores of words and their choice.

    Returns
    -------
    For each photo 1 to ``num_captions`` hypotheses; fewer only where fewer captions exist.

    Raises
    ------
    ValueError
        The decoder's scores are not finite.
    """
    last = word_map.max_tokens(options.max_length)
    rules = _Rules(word_map, last, grid)
    check_every = CHECK_EVERY.get(grid.device.type, 4)

    rows = torch.arange(len(grid), device=grid.device)
    images = rows  # the photos that still run, (b,)
    memory, state = decoder.memory(grid), decoder.init_state(grid)
    said = rules.unsaid.expand(len(grid), 1, -1)  # the words of the beams, after those never said
    log_probs = grid.new_zeros(len(grid), 1)  # of the running beams, (b, k)
    best = grid.new_full((len(grid), options.kept), -torch.inf)  # scores of finished captions
    steps: list[Step] = []

    for t in range(last + 1):
        tokens = said[..., -1]
        state, alpha = decoder.step(tokens, state, memory)
        runs = log_probs > -torch.inf
        ahead = attend_ahead(state, memory) if attend_ahead and t < last else None
        likely = _likeliest(decoder, state.hidden, runs, rules, said, t, options.beam_size + 1)
        step = _extend(images, tokens, log_probs, likely, alpha, word_map.end, options.beam_size)
        steps.append(step)
        score = step.ended / (t + 1) ** options.length_penalty
        best = torch.cat([best, score], dim=1).topk(options.kept).values
        log_probs, beams = step.log_probs, step.beams
        said = torch.cat([_reordered(said, beams), step.words.unsqueeze(-1)], dim=-1)

        # A beam that cannot win any more is given up; the state of the first one fills its place.
        may_win = log_probs / (last + 1) ** options.length_penalty > best[:, -1:]
        if options.consensus:
            asked_for = best[:, options.num_captions - 1].unsqueeze(1)
            may_win &= log_probs > asked_for * (t + 2) ** options.length_penalty - SHORTFALL
        log_probs = log_probs.where(may_win, -torch.inf)
        beams = beams.where(may_win, beams[:, :1])
        running = may_win[:, 0]
        chosen = rows
        if (t + 1) % check_every == 0 or t == last:
            count = int(running.sum())
            if count == 0 or t == last:
                break
            if count <= len(images) * 3 // 4:  # so that copies add up to three batches at most
                chosen = rows[running]
                rows, images, memory = rows[:count], images[chosen], memory.select(chosen)
                best, said = best[chosen], said[chosen]
                log_probs, beams = log_probs[chosen], beams[chosen]
        if ahead:
            state = state._replace(attended=ahead.result())
        state = state.select(chosen, beams)

    return trace_back(steps, len(grid), word_map, options)


class _Rules:
    """The words that may not follow, by step and previous word."""

    def __init__(self, word_map: WordMap, last: int, like: torch.Tensor) -> None:
        self._last, self._end = last, word_map.end
        never = [word_map.pad, word_map.unk, word_map.start]
        # Ids to begin the words of a beam with: those that never follow, `<start>` last.
        self.unsaid = torch.tensor(never, device=like.device)
        # Added to the score of a word that has been said, as the last word or at any time.
        self._repeated = _minus_infinity(~word_map.characters).to(like)
        self._said_before = _minus_infinity(word_map.content).to(like)
        self._said_before[self.unsaid] = -torch.inf
        self._all_but_end = torch.arange(len(word_map), device=like.device) != word_map.end

    def apply(self, word_log_probs: torch.Tensor, said: torch.Tensor, t: int) -> None:
        """Set log-probabilities (..., V) to -inf where the word may not follow those of ``said``.

        Parameters
        ----------
        said
            ``unsaid`` and the words of the beams, shape = (..., t + 3).
        t
            The number of the step; that of the last one allows only the end.
        """
        last = said[..., -1:]
        word_log_probs.scatter_add_(-1, said, self._said_before[said])
        word_log_probs.scatter_add_(-1, last, self._repeated[last])
        if t == 0:
            word_log_probs[..., self._end] = -torch.inf
        if t == self._last:
            word_log_probs.masked_fill_(self._all_but_end, -torch.inf)


def _minus_infinity(where: np.ndarray) -> torch.Tensor:
    """Return -inf where an array is true, 0 elsewhere."""
    return torch.where(torch.from_numpy(where), -torch.inf, 0.0)


def _reordered(said: torch.Tensor, beams: torch.Tensor) -> torch.Tensor:
    """Return the words (b, k, t) of the beams (b, K) that new beams continue."""
    return said.gather(1, beams.unsqueeze(-1).expand(-1, -1, said.shape[-1]))


def _likeliest(
    decoder: StepDecoder[M],
    hidden: torch.Tensor,
    runs: torch.Tensor,
    rules: _Rules,
    said: torch.Tensor,
    t: int,
    count: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the log-probabilities and ids of the likeliest words that may follow, (b, k, count).

    On a CPU, beams that do not run are not computed; they are given log-probabilities of -inf. A
    GPU would make the host wait for their number.

    Parameters
    ----------
    hidden
        shape = (b, k, H)
    runs
        Which beams run, shape = (b, k).
    count
        At most V are returned.
    """
    hidden, said = hidden.flatten(0, 1), said.flatten(0, 1)
    on_cpu = hidden.device.type == "cpu"
    if on_cpu:
        places = runs.flatten().nonzero().squeeze(1)
        hidden, said = hidden[places], said[places]
    word_log_probs = decoder.scores(hidden).log_softmax(dim=-1)
    rules.apply(word_log_probs, said, t)
    log_probs, words = word_log_probs.topk(min(count, word_log_probs.shape[-1]))
    if on_cpu:
        size = (runs.numel(), log_probs.shape[-1])
        log_probs = log_probs.new_full(size, -torch.inf).index_copy_(0, places, log_probs)
        words = words.new_zeros(size).index_copy_(0, places, words)
    return log_probs.view(*runs.shape, -1), words.view(*runs.shape, -1)


def _extend(
    images: torch.Tensor,
    tokens: torch.Tensor,
    log_probs: torch.Tensor,
    likeliest: tuple[torch.Tensor, torch.Tensor],
    alpha: torch.Tensor,
    end: int,
    width: int,
) -> Step:
    """End the beams that may end and continue them with their likeliest words.

    Ending does not compete with going on: a caption that could end here would be lost to beginnings
    that are likelier and then end badly.
    """
    likely_log_probs, likely = likeliest
    ends = likely == end
    totals = log_probs.unsqueeze(-1) + likely_log_probs
    ended = totals.where(ends, -torch.inf)[..., :width].amax(dim=-1)
    continued = totals.masked_fill(ends, -torch.inf).flatten(1)
    new_log_probs, place = continued.topk(min(width, continued.shape[1]))
    return Step(
        images=images,
        read=tokens,
        before=log_probs,
        likely=likely,
        likely_log_probs=likely_log_probs,
        ended=ended,
        words=likely.flatten(1).gather(1, place),
        log_probs=new_log_probs,
        beams=place // likely.shape[-1],
        alpha=alpha,
    )
