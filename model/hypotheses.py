"""Hypotheses: the finished captions of a beam search, read from the records of its steps."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

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
    """The best finished captions of photos, best first, shape = (B, `DecodingOptions.kept`)."""

    score: torch.Tensor  # -inf where there are fewer
    place: torch.Tensor  # K times the step in which it ended, plus the beam


class Record(NamedTuple):
    """All steps of a search as one, with N rows: one for each photo and step in which it ran."""

    rows: Step  # in the order of the steps; K beams, those that did not exist with log_prob -inf
    t: torch.Tensor  # the number of the step, (N,)
    divisor: torch.Tensor  # of the scores of captions that end there, (N, 1)

    @classmethod
    def of(cls, steps: list[Step], options: DecodingOptions) -> Record:
        parts = zip(*steps, strict=True)
        rows = Step(*(torch.cat([_widened(p, options.beam_size) for p in part]) for part in parts))
        t = [t for t, step in enumerate(steps) for _ in range(len(step.images))]
        powers = rows.before.new_tensor([(n + 1) ** options.length_penalty for n in t])
        return cls(rows, torch.tensor(t, device=powers.device), powers.unsqueeze(1))

    def finished(self, photos: int, count: int) -> Finished:
        """Return the best captions that ended at some step."""
        steps, width = int(self.t[-1]) + 1, self.rows.ended.shape[1]
        scores = self.divisor.new_full((photos, steps, width), -torch.inf)
        scores[self.rows.images, self.t] = self.rows.ended / self.divisor
        return Finished(*scores.flatten(1).topk(count))

    def expected(self, finished: Finished) -> torch.Tensor:
        """Return how often each beam's likely words were expected, shape = (N, K, at most K + 1).

        At every step a photo's beams, and the captions that ended before, share a weight of 1 by
        their scores, as captions do in `by_consensus`; a beam's score is the one that it would have
        if it ended there. A beam's share goes to the words that may continue it, by their
        probability.
        """
        score, place = (part[self.rows.images] for part in finished)
        width = self.rows.before.shape[1]
        ended = score.masked_fill(place >= width * self.t.unsqueeze(1), -torch.inf)
        running = self.rows.before / self.divisor
        share = (SHARPNESS * torch.cat([running, ended], dim=1)).softmax(dim=1)
        return share[:, :width].unsqueeze(-1) * self.rows.likely_log_probs.exp()


def _widened(part: torch.Tensor, width: int) -> torch.Tensor:
    """Add beams that do not exist to a part of a `Step`, up to ``width``."""
    if part.ndim == 1 or part.shape[1] == width:
        return part
    none = -torch.inf if part.is_floating_point() else 0
    missing = part.new_full((len(part), width - part.shape[1], *part.shape[2:]), none)
    return torch.cat([part, missing], dim=1)


def trace_back(
    steps: list[Step], photos: int, word_map: WordMap, options: DecodingOptions
) -> list[list[Hypothesis]]:
    """Follow the back-pointers of every photo's finished captions, on the CPU."""
    record = Record.of(steps, options)
    finished = record.finished(photos, options.kept)
    host = _OnHost(record, finished if options.consensus else None)
    rows: list[list[int]] = [[] for _ in range(photos)]  # each photo's, by step
    for row, image in enumerate(record.rows.images.tolist()):
        rows[image].append(row)
    found = []
    for own, scores, places in zip(rows, *(part.tolist() for part in finished), strict=True):
        ended = [
            _Ended(host, own, score, *divmod(place, options.beam_size))
            for score, place in zip(scores, places, strict=True)
            if score > -torch.inf  # neither unused nor NaN
        ]
        if not ended:
            raise ValueError("the network's word scores are not finite; are its weights damaged?")
        if options.consensus:
            captions = [[word_map.start, *each.tokens, word_map.end] for each in ended]
            order = by_consensus(
                captions, [each.score for each in ended], host.pairs(own), word_map.rarity
            )
            ended = [ended[place] for place in order]
        found.append([each.hypothesis(host) for each in ended[: options.num_captions]])
    return found


class _OnHost:
    """The rows of a `Record` on the CPU, most as lists, which Python reads faster than tensors."""

    def __init__(self, record: Record, finished: Finished | None) -> None:
        rows = record.rows
        self.ended = rows.ended.tolist()
        self.words, self.beams = rows.words.tolist(), rows.beams.tolist()
        self.log_probs = rows.log_probs.tolist()
        self.alpha = rows.alpha.cpu().numpy()
        if finished:
            first = rows.read.unsqueeze(-1).expand_as(rows.likely)
            each = (first, rows.likely, record.expected(finished))
            self._pairs = Pairs(*(part.flatten(1).cpu().numpy() for part in each))

    def pairs(self, rows: list[int]) -> Pairs:
        """Return the pairs of adjacent words that the beams of some rows expected."""
        return Pairs(*(part[rows].ravel() for part in self._pairs))


class _Ended:
    """A caption that ended at a beam of a step, and the beams that wrote it."""

    def __init__(self, host: _OnHost, rows: list[int], score: float, step: int, beam: int) -> None:
        self.score = score
        self.log_prob = host.ended[rows[step]][beam]
        self.path: list[tuple[int, int]] = []  # the row and the beam of each word
        self.tokens: list[int] = []
        for row in reversed(rows[:step]):  # from the word before <end> to the first
            self.path.append((row, beam))
            self.tokens.append(host.words[row][beam])
            beam = host.beams[row][beam]
        self.path.reverse()
        self.tokens.reverse()

    def hypothesis(self, host: _OnHost) -> Hypothesis:
        sums = [host.log_probs[row][beam] for row, beam in self.path]
        rows = [row for row, _ in self.path]
        read = [host.beams[row][beam] for row, beam in self.path]  # the beams before each word
        return Hypothesis(
            tokens=self.tokens,
            log_prob=self.log_prob,
            score=self.score,
            token_log_probs=[after - before for before, after in pairwise([0.0, *sums])],
            alphas=torch.from_numpy(host.alpha[rows, read]),
        )
