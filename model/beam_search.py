"""Beam search over all photos of a batch at once.

The score of a caption of n words is ``log_prob / (n + 1) ** length_penalty``, where ``log_prob``
sums the log-probabilities of its words and of ``<end>``. Special tokens other than ``<end>`` are
never emitted, nor is a caption without words; their probability is not spread over the others.
After ``max_length`` words only ``<end>`` may follow, so every hypothesis is a whole caption.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch

from model.decoder import DecoderState, Memory
from model.word_map import WordMap

# A GPU runs ahead of the host; to be asked which photos still run makes both wait.
CHECK_EVERY = {"cpu": 1}  # steps; of other devices 4


@dataclass(frozen=True)
class DecodingOptions:
    """How captions are searched for.

    Parameters
    ----------
    beam_size
        K, hypotheses kept for a photo, 1..20; 1 is greedy.
    num_captions
        Captions returned for a photo, 1..beam_size.
    max_length
        Words at most, 1..100.
    length_penalty
        Exponent of the length in the score, 0..2; 0 is off, more favours longer captions.
    """

    beam_size: int = 3
    num_captions: int = 1
    max_length: int = 30
    length_penalty: float = 0.0

    def __post_init__(self) -> None:
        for name, most in (("beam_size", 20), ("num_captions", 20), ("max_length", 100)):
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= most:
                raise ValueError(f"{name} is {value!r}; it must be a whole number in 1..{most}")
        if self.num_captions > self.beam_size:
            raise ValueError(
                f"num_captions is {self.num_captions}; it must be at most"
                f" beam_size, {self.beam_size}"
            )
        penalty = self.length_penalty
        if type(penalty) not in (int, float) or not 0 <= penalty <= 2:
            raise ValueError(f"length_penalty is {penalty!r}; it must be a number in 0..2")


@dataclass(frozen=True)
class Hypothesis:
    """One finished caption."""

    tokens: list[int]  # T words, without ``<end>``
    log_prob: float  # of the words and ``<end>``
    score: float  # what it is ranked by
    token_log_probs: list[float]  # of each word
    alphas: torch.Tensor  # where each word looked, on the CPU, shape = (T, P)


class StepDecoder(Protocol):
    """What the search needs of `model.decoder.Decoder`."""

    def memory(self, grid: torch.Tensor) -> Memory: ...
    def init_state(self, grid: torch.Tensor) -> DecoderState: ...
    def step(
        self, tokens: torch.Tensor, state: DecoderState, memory: Memory
    ) -> tuple[DecoderState, torch.Tensor]: ...
    def scores(self, hidden: torch.Tensor) -> torch.Tensor: ...


@torch.inference_mode()
def beam_search(
    decoder: StepDecoder, grid: torch.Tensor, word_map: WordMap, options: DecodingOptions
) -> list[list[Hypothesis]]:
    """The best captions of every photo, best first.

    A photo leaves the search when no running beam can still enter its ``num_captions`` best:
    log-probabilities only fall, so a beam's score is bounded by its present one at full length.

    Parameters
    ----------
    grid
        shape = (B, P, D)

    Returns
    -------
    For each photo 1 to ``num_captions`` hypotheses; fewer only where fewer captions exist.
    """
    batch, width, last = len(grid), options.beam_size, options.max_length
    history = _History(batch, width, last + 1, grid)
    finished = _Finished(batch, options.num_captions, grid)
    never = torch.tensor([word_map.pad, word_map.start, word_map.unk], device=grid.device)
    only_end = torch.arange(len(word_map), device=grid.device) != word_map.end

    images = torch.arange(batch, device=grid.device)  # of the rows that still run, (b,)
    memory, state = decoder.memory(grid), decoder.init_state(grid)
    tokens = torch.full((batch, 1), word_map.start, device=grid.device)
    check_every = CHECK_EVERY.get(grid.device.type, 4)
    log_probs = grid.new_zeros(batch, 1)  # of the running beams, (b, k)

    for t in range(last + 1):
        state, alpha = decoder.step(tokens, state, memory)
        scores = decoder.scores(state.hidden)
        normaliser = scores.logsumexp(dim=-1)
        scores.index_fill_(-1, never, -torch.inf)
        if t == 0:
            scores[..., word_map.end] = -torch.inf
        if t == last:
            scores.masked_fill_(only_end, -torch.inf)

        # A beam can place at most K words and its <end> among the best; no row of V
        # log-probabilities is made for the others.
        of_beam, word = scores.topk(min(width + 1, scores.shape[-1]))
        candidates = (log_probs - normaliser).unsqueeze(-1) + of_beam  # (b, k, K + 1)
        best, flat = candidates.flatten(1).topk(min(2 * width, candidates[0].numel()))
        beams = flat // candidates.shape[-1]
        words = word.flatten(1).gather(1, flat)

        # <end> counts when it is among the K best candidates; the next one takes the beam's place.
        ends = words == word_map.end
        ended = best.masked_fill(~ends, -torch.inf)[:, :width]
        score = ended / (t + 1) ** options.length_penalty
        finished.add(images, score, ended, beams[:, :width], t)
        log_probs, kept = best.masked_fill(ends, -torch.inf).topk(min(width, best.shape[1]))
        beams, tokens = beams.gather(1, kept), words.gather(1, kept)
        history.write(t, images, tokens, beams, log_probs, alpha)

        bound = log_probs.amax(dim=1) / (last + 1) ** options.length_penalty
        running = bound > finished.score[images, -1]
        log_probs = log_probs.masked_fill(~running.unsqueeze(1), -torch.inf)
        rows = torch.arange(len(images), device=grid.device)
        if (t + 1) % check_every == 0:
            count = int(running.sum())
            if count == 0:
                break
            if count <= len(images) * 3 // 4:  # copies no more than the batch three times in all
                rows = rows[running]
                images, memory = images[running], memory.select(rows)
                tokens, log_probs = tokens[rows], log_probs[rows]
        state = state.select(rows, beams[rows])

    return _trace_back(history, finished)


class _History:
    """Back-pointers of all steps: what beam k of a photo added at step t, and to which beam."""

    def __init__(self, batch: int, width: int, steps: int, like: torch.Tensor) -> None:
        shape = (steps, batch, width)
        self.words = torch.zeros(shape, dtype=torch.long, device=like.device)
        self.parents = torch.zeros(shape, dtype=torch.long, device=like.device)
        self.log_probs = like.new_zeros(shape)
        self.alphas = like.new_zeros(*shape, like.shape[1])  # of the parent's step, by parent

    def write(
        self,
        t: int,
        images: torch.Tensor,
        words: torch.Tensor,
        parents: torch.Tensor,
        log_probs: torch.Tensor,
        alpha: torch.Tensor,
    ) -> None:
        width = words.shape[1]
        self.words[t, images, :width] = words
        self.parents[t, images, :width] = parents
        self.log_probs[t, images, :width] = log_probs
        self.alphas[t, images, : alpha.shape[1]] = alpha


class _Finished:
    """The best finished captions of every photo, best first, shape = (B, num_captions) each."""

    def __init__(self, batch: int, count: int, like: torch.Tensor) -> None:
        self.score = like.new_full((batch, count), -torch.inf)
        self.log_prob = self.score.clone()
        self.beam = torch.zeros((batch, count), dtype=torch.long, device=like.device)
        self.step = self.beam.clone()

    def add(
        self,
        images: torch.Tensor,
        score: torch.Tensor,
        log_prob: torch.Tensor,
        beam: torch.Tensor,
        step: int,
    ) -> None:
        count = self.score.shape[1]
        score, order = torch.cat([self.score[images], score], dim=1).topk(count)
        self.score[images] = score
        steps = torch.full_like(beam, step)
        for kept, new in ((self.log_prob, log_prob), (self.beam, beam), (self.step, steps)):
            kept[images] = torch.cat([kept[images], new], dim=1).gather(1, order)


def _trace_back(history: _History, finished: _Finished) -> list[list[Hypothesis]]:
    """Follow the back-pointers of every finished caption, on the CPU."""
    words, parents, log_probs = (
        part.tolist() for part in (history.words, history.parents, history.log_probs)
    )
    alphas = history.alphas.cpu()
    pool = zip(
        *(p.tolist() for p in (finished.score, finished.log_prob, finished.beam, finished.step)),
        strict=True,
    )
    found = []
    for b, columns in enumerate(pool):
        hypotheses = []
        for score, log_prob, beam, step in zip(*columns, strict=True):
            if not score > -torch.inf:  # never filled, or not a number
                continue
            path = [beam]  # of the word before <end>, back to the first
            for t in range(step - 1, 0, -1):
                path.append(parents[t][b][path[-1]])
            path.reverse()
            before = 0.0
            token_log_probs, looked = [], []
            for t, k in enumerate(path):
                token_log_probs.append(log_probs[t][b][k] - before)
                before = log_probs[t][b][k]
                looked.append(alphas[t, b, parents[t][b][k]])
            hypotheses.append(
                Hypothesis(
                    tokens=[words[t][b][k] for t, k in enumerate(path)],
                    log_prob=log_prob,
                    score=score,
                    token_log_probs=token_log_probs,
                    alphas=torch.stack(looked),
                )
            )
        if not hypotheses:
            raise ValueError("the network's word scores are not finite; are its weights damaged?")
        found.append(hypotheses)
    return found
