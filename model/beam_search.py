"""Beam search over all photos of a batch at once.

The score of a caption of n words is ``log_prob / (n + 1) ** length_penalty``, where ``log_prob``
sums the log-probabilities of its words and of ``<end>``. A beam ends where ``<end>`` is among its
own K likeliest words, and goes on as well. Special tokens other than ``<end>`` are never emitted,
nor is a word twice in a row, nor a caption without words; their probability is not spread over the
others. Characters of scripts without spaces may follow themselves, as in many a Chinese word.
After ``max_length`` words only ``<end>`` may follow, so every hypothesis is a whole caption.

The likeliest caption is not always the best one: see `model.consensus`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, Protocol

import numpy as np
import torch

from model.consensus import SHARPNESS, Pairs, by_consensus
from model.decoding_options import DecodingOptions
from model.decoding_step import DecoderState, Memory
from model.word_map import WordMap

# A GPU runs ahead of the host; to be asked which photos still run makes both wait.
CHECK_EVERY = {"cpu": 1}  # steps; of other devices 4


@dataclass(frozen=True)
class Hypothesis:
    """One finished caption."""

    tokens: list[int]  # T words, without ``<end>``
    log_prob: float  # of the words and ``<end>``
    score: float  # log_prob by length, what the search ranks by
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

    A photo leaves the search when no running beam can still enter the best ones that are kept:
    log-probabilities only fall, so a beam's score is bounded by its present one at full length.

    Parameters
    ----------
    grid
        shape = (B, P, D)

    Returns
    -------
    For each photo 1 to ``num_captions`` hypotheses; fewer only where fewer captions exist.
    """
    width, last = options.beam_size, word_map.max_tokens(options.max_length)
    never = torch.tensor([word_map.pad, word_map.start, word_map.unk], device=grid.device)
    again = torch.where(torch.from_numpy(word_map.characters), 0.0, -torch.inf).to(grid.device)
    only_end = torch.arange(len(word_map), device=grid.device) != word_map.end
    check_every = CHECK_EVERY.get(grid.device.type, 4)

    rows = torch.arange(len(grid), device=grid.device)
    images = rows  # of the rows that still run, (b,)
    memory, state = decoder.memory(grid), decoder.init_state(grid)
    tokens = torch.full((len(grid), 1), word_map.start, device=grid.device)
    log_probs = grid.new_zeros(len(grid), 1)  # of the running beams, (b, k)
    finished = _Finished.none(len(grid), options.kept, grid)
    best = finished  # of the rows that still run
    steps: list[_Step] = []

    for t in range(last + 1):
        read, so_far = tokens, log_probs
        state, alpha = decoder.step(tokens, state, memory)
        of_words = decoder.scores(state.hidden).log_softmax(dim=-1)
        of_words.index_fill_(-1, never, -torch.inf)
        # Not the same word again, unless it is a character.
        of_words.scatter_add_(-1, tokens.unsqueeze(-1), again[tokens].unsqueeze(-1).to(of_words))
        if t == 0:
            of_words[..., word_map.end] = -torch.inf
        if t == last:
            of_words.masked_fill_(only_end, -torch.inf)

        # To end does not compete with going on: a caption that could end here would be lost to
        # beginnings that are likelier and then end badly.
        of_beam, word = of_words.topk(min(width + 1, of_words.shape[-1]))
        ends = word == word_map.end
        ended = log_probs + of_beam.where(ends, -torch.inf)[..., :width].amax(dim=-1)
        best = best.with_more(ended / (t + 1) ** options.length_penalty, t * width)
        goes_on = (log_probs.unsqueeze(-1) + of_beam.masked_fill(ends, -torch.inf)).flatten(1)
        log_probs, flat = goes_on.topk(min(width, goes_on.shape[1]))
        beams, tokens = flat // word.shape[-1], word.flatten(1).gather(1, flat)
        steps.append(
            _Step(images, read, so_far, word, of_beam, ended, tokens, log_probs, beams, alpha)
        )

        # A beam that cannot win any more is given up, and another's step is as good for it.
        may_win = log_probs / (last + 1) ** options.length_penalty > best.score[:, -1:]
        log_probs = log_probs.where(may_win, -torch.inf)
        beams = beams.where(may_win, beams[:, :1])
        running = may_win[:, 0]
        chosen = rows
        if (t + 1) % check_every == 0 or t == last:
            count = int(running.sum())
            if count <= len(images) * 3 // 4:  # copies no more than the batch three times in all
                finished.write(images, best)
                if count == 0 or t == last:
                    break
                chosen = rows[running]
                rows, images, memory = rows[:count], images[chosen], memory.select(chosen)
                best, tokens = best.select(chosen), tokens[chosen]
                log_probs, beams = log_probs[chosen], beams[chosen]
        state = state.select(chosen, beams)

    return _trace_back(steps, finished, word_map, options)


class _Step(NamedTuple):
    """What a step did, for the rows that ran; shape = (b, ...)."""

    images: torch.Tensor  # which photos these were, (b,)
    read: torch.Tensor  # words the beams ended in, (b, k)
    so_far: torch.Tensor  # log-probabilities of the beams, (b, k)
    likely: torch.Tensor  # words to go on with, (b, k, at most K + 1)
    of_likely: torch.Tensor  # their log-probabilities
    ended: torch.Tensor  # log-probabilities of the beams that may end here, others' -inf, (b, k)
    words: torch.Tensor  # what the beams added, (b, K)
    log_probs: torch.Tensor  # with that, (b, K)
    beams: torch.Tensor  # which beam each went on, (b, K)
    alpha: torch.Tensor  # where those looked, (b, k, P)


class _Finished(NamedTuple):
    """The best finished captions of photos, best first, shape = (b, `DecodingOptions.kept`)."""

    score: torch.Tensor
    place: torch.Tensor  # K times the step plus the beam

    @classmethod
    def none(cls, photos: int, count: int, like: torch.Tensor) -> _Finished:
        place = torch.zeros(photos, count, dtype=torch.long, device=like.device)
        return cls(like.new_full((photos, count), -torch.inf), place)

    def with_more(self, score: torch.Tensor, first: int) -> _Finished:
        """With those that ended at one step, (b, k), if they are better."""
        more = torch.arange(first, first + score.shape[1], device=score.device)
        best, order = torch.cat([self.score, score], dim=1).topk(self.score.shape[1])
        places = torch.cat([self.place, more.expand_as(score)], dim=1)
        return _Finished(best, places.gather(1, order))

    def select(self, rows: torch.Tensor) -> _Finished:
        return _Finished(self.score[rows], self.place[rows])

    def write(self, rows: torch.Tensor, found: _Finished) -> None:
        self.score[rows], self.place[rows] = found


def _trace_back(
    steps: list[_Step], finished: _Finished, word_map: WordMap, options: DecodingOptions
) -> list[list[Hypothesis]]:
    """Follow the back-pointers of every finished caption, on the CPU."""
    told = [_Told(step) for step in steps]
    expected = _expected_pairs(steps, finished, options) if options.consensus else []
    found = []
    for image, (scores, places) in enumerate(
        zip(finished.score.tolist(), finished.place.tolist(), strict=True)
    ):
        ended = [
            _Ended(told, image, score, *divmod(place, options.beam_size))
            for score, place in zip(scores, places, strict=True)
            if score > -torch.inf  # was filled, and is a number
        ]
        if not ended:
            raise ValueError("the network's word scores are not finite; are its weights damaged?")
        if options.consensus:
            captions = [[word_map.start, *each.tokens, word_map.end] for each in ended]
            order = by_consensus(
                captions, [each.score for each in ended], expected[image], word_map.rarity
            )
            ended = [ended[place] for place in order]
        found.append([each.hypothesis(told) for each in ended[: options.num_captions]])
    return found


def _expected_pairs(
    steps: list[_Step], finished: _Finished, options: DecodingOptions
) -> list[Pairs]:
    """Of each photo, how often its captions have two words in a row, by what the beams expected.

    At every step a photo's beams, and what had ended before, share 1 as captions do: see
    `by_consensus`; a beam's score is what it would be if it ended there. A beam's share goes to
    the words that it goes on with, by their probability.
    """
    size = max(step.likely[0].numel() for step in steps)
    shape = (len(finished.score), len(steps), size)  # zeros where a step has fewer, or none
    first, second = (finished.place.new_zeros(shape) for _ in range(2))
    count = finished.score.new_zeros(shape)
    ended_at = finished.place // options.beam_size
    for t, step in enumerate(steps):
        running = step.so_far / (t + 1) ** options.length_penalty
        ended = finished.score.masked_fill(ended_at >= t, -torch.inf)[step.images]
        share = (SHARPNESS * torch.cat([running, ended], dim=1)).softmax(dim=1)
        expected = share[:, : running.shape[1]].unsqueeze(-1) * step.of_likely.exp()
        here = step.images, t, slice(step.likely[0].numel())
        first[here] = step.read.unsqueeze(-1).expand_as(step.likely).flatten(1)
        second[here] = step.likely.flatten(1)
        count[here] = expected.flatten(1)
    told = (part.flatten(1).cpu().numpy() for part in (first, second, count))
    return [Pairs(*photo) for photo in zip(*told, strict=True)]


class _Told:
    """A `_Step` as Python reads it fast."""

    def __init__(self, step: _Step) -> None:
        self.row = {image: row for row, image in enumerate(step.images.tolist())}
        self.ended = step.ended.tolist()
        self.words, self.beams = step.words.tolist(), step.beams.tolist()
        self.log_probs = step.log_probs.tolist()
        self.alpha = step.alpha.cpu().numpy()


class _Ended:
    """A caption whose ``<end>`` a step placed, and the beams that wrote it."""

    def __init__(self, told: list[_Told], image: int, score: float, step: int, beam: int) -> None:
        self.score = score
        row = told[step].row[image]
        self.log_prob = told[step].ended[row][beam]
        self.path: list[tuple[int, int]] = []  # of each word, row and beam in its step
        self.tokens: list[int] = []
        for earlier in reversed(told[:step]):  # from the word before <end> to the first
            row = earlier.row[image]
            self.path.append((row, beam))
            self.tokens.append(earlier.words[row][beam])
            beam = earlier.beams[row][beam]
        self.path.reverse()
        self.tokens.reverse()

    def hypothesis(self, told: list[_Told]) -> Hypothesis:
        written = list(zip(told, self.path, strict=False))  # the steps that wrote a word of it
        sums = [step.log_probs[row][beam] for step, (row, beam) in written]
        looked = [step.alpha[row, step.beams[row][beam]] for step, (row, beam) in written]
        return Hypothesis(
            tokens=self.tokens,
            log_prob=self.log_prob,
            score=self.score,
            token_log_probs=[after - before for before, after in pairwise([0.0, *sums])],
            alphas=torch.from_numpy(np.stack(looked)),
        )
