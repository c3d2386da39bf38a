"""Hypotheses: the finished captions of a beam search, read from the records of its steps."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch

from model.consensus import SHARPNESS, Pairs, by_consensus
from model.decoding_options import DecodingOptions
from model.word_map import WordMap


@dataclass(frozen=True)
class Hypothesis:
    """One finished caption."""

    tokens: list[int]  # T words, without ``<end>``
    log_prob: float  # of the words and ``<end>``
    score: float  # log_prob divided by a power of the length; the search ranks by it
    token_log_probs: list[float]  # of each word
    alphas: torch.Tensor  # attention weights of each word, on the CPU, shape = (T, P)


class Step(NamedTuple):
    """The record of one step for the b photos that ran: k beams became K."""

    images: torch.Tensor  # the photos, (b,)
    read: torch.Tensor  # the last words of the beams, (b, k)
    before: torch.Tensor  # log-probabilities of the beams before the step, (b, k)
    likely: torch.Tensor  # each beam's likeliest next words, (b, k, at most K + 1)
    likely_log_probs: torch.Tensor  # the log-probabilities of those words, given the beam
    ended: torch.Tensor  # log-probabilities of the beams that end here, -inf for others, (b, k)
    words: torch.Tensor  # the words of the new beams, (b, K)
    log_probs: torch.Tensor  # log-probabilities of the new beams, (b, K)
    beams: torch.Tensor  # the old beam that each new beam continues, (b, K)
    alpha: torch.Tensor  # attention weights of the old beams, (b, k, P)


class Finished(NamedTuple):
    """The best finished captions of photos, best first, shape = (b, `DecodingOptions.kept`)."""

    score: torch.Tensor
    place: torch.Tensor  # K times the step in which it ended, plus the beam

    @classmethod
    def none(cls, photos: int, count: int, like: torch.Tensor) -> Finished:
        place = torch.zeros(photos, count, dtype=torch.long, device=like.device)
        return cls(like.new_full((photos, count), -torch.inf), place)

    def with_more(self, score: torch.Tensor, first: int) -> Finished:
        """Return the best of these and of the captions that ended in one step, scores (b, k).

        Parameters
        ----------
        first
            The place of the step's first beam.
        """
        more = torch.arange(first, first + score.shape[1], device=score.device)
        best, order = torch.cat([self.score, score], dim=1).topk(self.score.shape[1])
        places = torch.cat([self.place, more.expand_as(score)], dim=1)
        return Finished(best, places.gather(1, order))

    def select(self, rows: torch.Tensor) -> Finished:
        return Finished(self.score[rows], self.place[rows])

    def write(self, rows: torch.Tensor, found: Finished) -> None:
        self.score[rows], self.place[rows] = found


def trace_back(
    steps: list[Step], finished: Finished, word_map: WordMap, options: DecodingOptions
) -> list[list[Hypothesis]]:
    """Follow the back-pointers of every finished caption, on the CPU."""
    on_host = [_StepOnHost(step) for step in steps]
    expected = expected_pairs(steps, finished, options) if options.consensus else []
    found = []
    for image, (scores, places) in enumerate(
        zip(finished.score.tolist(), finished.place.tolist(), strict=True)
    ):
        ended = [
            _Ended(on_host, image, score, *divmod(place, options.beam_size))
            for score, place in zip(scores, places, strict=True)
            if score > -torch.inf  # neither unused nor NaN
        ]
        if not ended:
            raise ValueError("the network's word scores are not finite; are its weights damaged?")
        if options.consensus:
            captions = [[word_map.start, *each.tokens, word_map.end] for each in ended]
            order = by_consensus(
                captions, [each.score for each in ended], expected[image], word_map.rarity
            )
            ended = [ended[place] for place in order]
        found.append([each.hypothesis(on_host) for each in ended[: options.num_captions]])
    return found


def expected_pairs(steps: list[Step], finished: Finished, options: DecodingOptions) -> list[Pairs]:
    """Return for each photo how often the beams expected each pair of adjacent words.

    At every step a photo's beams, and the captions that ended before, share a weight of 1 by their
    scores, as captions do in `by_consensus`; a beam's score is the one that it would have if it
    ended there. A beam's share goes to the words that may continue it, by their probability.
    """
    size = max(step.likely[0].numel() for step in steps)
    shape = (len(finished.score), len(steps), size)  # zeros where a step has fewer, or none
    first, second = (finished.place.new_zeros(shape) for _ in range(2))
    count = finished.score.new_zeros(shape)
    ended_at = finished.place // options.beam_size
    for t, step in enumerate(steps):
        running = step.before / (t + 1) ** options.length_penalty
        ended = finished.score.masked_fill(ended_at >= t, -torch.inf)[step.images]
        share = (SHARPNESS * torch.cat([running, ended], dim=1)).softmax(dim=1)
        expected = share[:, : running.shape[1]].unsqueeze(-1) * step.likely_log_probs.exp()
        here = step.images, t, slice(step.likely[0].numel())
        first[here] = step.read.unsqueeze(-1).expand_as(step.likely).flatten(1)
        second[here] = step.likely.flatten(1)
        count[here] = expected.flatten(1)
    on_host = (part.flatten(1).cpu().numpy() for part in (first, second, count))
    return [Pairs(*photo) for photo in zip(*on_host, strict=True)]


class _StepOnHost:
    """A `Step` as lists, which Python reads faster than tensors."""

    def __init__(self, step: Step) -> None:
        self.row = {image: row for row, image in enumerate(step.images.tolist())}
        self.ended = step.ended.tolist()
        self.words, self.beams = step.words.tolist(), step.beams.tolist()
        self.log_probs = step.log_probs.tolist()
        self.alpha = step.alpha.cpu().numpy()


class _Ended:
    """A caption that ended at a beam of a step, and the beams that wrote it."""

    def __init__(
        self, steps: list[_StepOnHost], image: int, score: float, step: int, beam: int
    ) -> None:
        self.score = score
        self.log_prob = steps[step].ended[steps[step].row[image]][beam]
        self.path: list[tuple[int, int]] = []  # the row and the beam of each word in its step
        self.tokens: list[int] = []
        for earlier in reversed(steps[:step]):  # from the word before <end> to the first
            row = earlier.row[image]
            self.path.append((row, beam))
            self.tokens.append(earlier.words[row][beam])
            beam = earlier.beams[row][beam]
        self.path.reverse()
        self.tokens.reverse()

    def hypothesis(self, steps: list[_StepOnHost]) -> Hypothesis:
        written = list(zip(steps, self.path, strict=False))  # the steps that wrote its words
        sums = [step.log_probs[row][beam] for step, (row, beam) in written]
        alphas = [step.alpha[row, step.beams[row][beam]] for step, (row, beam) in written]
        return Hypothesis(
            tokens=self.tokens,
            log_prob=self.log_prob,
            score=self.score,
            token_log_probs=[after - before for before, after in pairwise([0.0, *sums])],
            alphas=torch.from_numpy(np.stack(alphas)),
        )
