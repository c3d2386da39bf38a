"""The reliability of confidences, measured on captions whose scores are known.

A confidence is useful in two ways. Reliability: of the captions with a confidence of 0.7, seven of
ten are good. Accuracy-coverage: if only the most confident captions are kept, those that are kept
are better than the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.calibration import Calibration
from training.scoring.captions import GeneratedCaption
from training.scoring.corpus import Floats
from training.scoring.evaluation import Evaluation

BINS = 10
RESAMPLES = 500


class Bin(NamedTuple):
    """Captions of about the same confidence."""

    captions: int  # how many
    confidence: float  # mean
    share: float  # of these captions that are good


class Areas(NamedTuple):
    """The areas under accuracy-coverage curves: the same captions, kept in three orders.

    They are in the units of what is averaged: CIDEr-D, or the share of good captions.
    """

    confident: float  # the most confident first
    random: float  # in random order
    best: float  # the best first: no confidence can do more


@dataclass(frozen=True, eq=False)
class Reliability:
    """The confidences of N captions beside the CIDEr-D that these captions turned out to have."""

    confidence: Floats  # shape = (N,)
    cider: Floats  # shape = (N,)
    threshold: float | None  # CIDEr-D of a good caption; None: confidences only rank the captions
    source: str  # how the confidences were computed, for people

    @property
    def good(self) -> NDArray[np.bool_]:
        """Which captions are good, shape = (N,)."""
        assert self.threshold is not None
        return self.cider >= self.threshold

    def part(self, start: int, end: int) -> Reliability:
        """Return the reliability of the captions from ``start`` up to ``end`` alone."""
        confidence, cider = self.confidence[start:end], self.cider[start:end]
        return replace(self, confidence=confidence, cider=cider)

    def bins(self) -> list[Bin]:
        """Return `BINS` bins from the least confident to the most, equally full or one apart."""
        order = np.argsort(self.confidence, kind="stable")
        good = self.good
        return [
            Bin(len(part), float(self.confidence[part].mean()), float(good[part].mean()))
            for part in np.array_split(order, min(BINS, len(order)))
        ]

    def calibration_error(self) -> float:
        """Return the expected calibration error, 0..1.

        That is how far a bin's confidence is from its share of good captions, the mean over
        captions (Guo et al. 2017, section 2, but with equally full bins).
        """
        return sum(b.captions * abs(b.confidence - b.share) for b in self.bins()) / len(self.cider)

    def chance_error(self, seed: int = 1) -> float:
        """Return the mean `calibration_error` of as many captions if confidences were exact.

        A bin of few captions is off by chance alone: an error that is no larger than this is no
        sign of a wrong confidence.
        """
        order = np.argsort(self.confidence, kind="stable")
        draws = np.random.default_rng(seed).random((RESAMPLES, len(order)))
        off = self.confidence[order] - (draws < self.confidence[order])
        parts = np.array_split(off, min(BINS, len(order)), axis=1)
        return float(sum(abs(part.sum(axis=1)) for part in parts).mean()) / len(order)

    def table(self) -> str:
        """Return the areas and errors as plain text; columns are two or more spaces apart."""
        rows = [["area under accuracy-coverage", "confidence", "random order", "perfect order"]]
        rows.append(["mean CIDEr", *_figures(areas(self.confidence, self.cider))])
        lines = [f"confidence {self.source}"]
        if self.threshold is not None:
            share = areas(self.confidence, self.good.astype(np.float64))
            rows.append([f"share with CIDEr from {self.threshold:.4f}", *_figures(share)])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            line = "  ".join(c.ljust(width) for c, width in zip(row, widths, strict=True))
            lines.append(line.rstrip())
        if self.threshold is not None:
            lines.append(
                f"expected calibration error  {self.calibration_error():.4f}"
                f"  (chance alone: {self.chance_error():.4f})"
            )
        return "\n".join(lines)


def measure_reliability(
    captions: Sequence[GeneratedCaption], evaluation: Evaluation, calibration: Calibration | None
) -> Reliability:
    """Return the reliability of a calibration on these captions, scored in the same order.

    Without a calibration the captions are ranked by their likelihood alone.
    """
    cider = np.asarray(evaluation.cider)
    if calibration is None:
        source = "not fitted; captions ranked by the mean log-probability of a token"
        return Reliability(mean_log_probs(captions), cider, None, source)
    confidence = [calibration.confidence(c.log_prob, c.word_count) for c in captions]
    source = "as computed with the checkpoint's calibration"
    return Reliability(np.array(confidence), cider, calibration.threshold, source)


def mean_log_probs(captions: Sequence[GeneratedCaption]) -> Floats:
    """Return the mean log-probability of a caption's tokens, ``<end>`` included; shape = (N,)."""
    return np.array([caption.log_prob / (caption.word_count + 1) for caption in captions])


def accuracy_coverage(confidence: Floats, worth: Floats) -> Floats:
    """Return the mean worth of the n most confident captions, n = 1..N.

    See El-Yaniv and Wiener 2010. Captions of equal confidence have no order among them: the curve
    is the mean over all their orders.

    Parameters
    ----------
    confidence, worth
        shape = (N,)

    Returns
    -------
    shape = (N,)
    """
    _, group = np.unique(-confidence, return_inverse=True)
    means = np.bincount(group, worth) / np.bincount(group)
    return np.asarray(np.cumsum(means[np.sort(group)]) / np.arange(1, len(worth) + 1))


def areas(confidence: Floats, worth: Floats) -> Areas:
    """Return the areas under `accuracy_coverage`: by confidence, in random order, best first."""
    orders = confidence, np.zeros_like(worth), worth
    return Areas(*(float(accuracy_coverage(order, worth).mean()) for order in orders))


def _figures(areas: Areas) -> list[str]:
    return [f"{value:.4f}" for value in areas]
