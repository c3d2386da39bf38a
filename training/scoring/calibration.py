"""Fitting the confidence of captions, and how far it can be relied on.

A confidence is worth something in two ways: of the captions with a confidence of 0.7, seven of ten
are good (reliability), and the captions with the highest are better than the others (accuracy-
coverage: how good are those one keeps, if one keeps only the most confident?).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from model.calibration import Calibration
from model.files import write_whole
from training.reporting.pictures import ACCENT, GREY, INK, Page
from training.scoring.captions import GeneratedCaption
from training.scoring.evaluation import Evaluation
from training.scoring.metrics import Floats

LEAST_PHOTOS = 50
FOLDS = 5
BINS = 10
RESAMPLES = 500
NEWTON_STEPS, RIDGE = 100, 1e-6
LEAST_SPREAD = 1e-6  # of mean log-probabilities; what differs less does not differ
BLUE, PALE = "#2f6690", "#c4c4c4"
PERCENT = PercentFormatter(1, symbol=" %")
BARS = [i / 40 for i in range(41)]  # edges
SHOWN = 0.02  # coverage from which a mean over the captions kept is drawn; of fewer it is noise


class Bin(NamedTuple):
    """Captions of about the same confidence."""

    captions: int  # how many
    confidence: float  # mean
    share: float  # of them that are good


class Areas(NamedTuple):
    """Under accuracy-coverage curves of the same captions, in the units of what is averaged."""

    confident: float  # the most confident first
    random: float
    best: float  # the best first: no confidence can do more


@dataclass(frozen=True, eq=False)
class Reliability:
    """What captions are ranked by, and what they turned out to be worth; N captions."""

    confidence: Floats  # shape = (N,)
    cider: Floats  # shape = (N,)
    threshold: float | None  # None: the confidences only rank, nothing was fitted
    how: str  # where the confidences come from, for people

    @property
    def good(self) -> NDArray[np.bool_]:
        assert self.threshold is not None
        return self.cider >= self.threshold

    def bins(self) -> list[Bin]:
        """`BINS` of equal counts, give or take one; from the least confident to the most."""
        order = np.argsort(self.confidence, kind="stable")
        good = self.good
        return [
            Bin(len(part), float(self.confidence[part].mean()), float(good[part].mean()))
            for part in np.array_split(order, min(BINS, len(order)))
        ]

    def calibration_error(self) -> float:
        """Expected calibration error, 0..1: how far confidence is from the share of good captions.

        The mean over captions of what their bin is off by (Guo et al. 2017, section 2, but with
        bins of equal counts).
        """
        return sum(b.captions * abs(b.confidence - b.share) for b in self.bins()) / len(self.cider)

    def chance_error(self, seed: int = 1) -> float:
        """The mean `calibration_error` of as many captions if the confidences were exactly right.

        A bin of few captions is off by chance alone; an error near this is no error at all.
        """
        order = np.argsort(self.confidence, kind="stable")
        draws = np.random.default_rng(seed).random((RESAMPLES, len(order)))
        off = self.confidence[order] - (draws < self.confidence[order])
        parts = np.array_split(off, min(BINS, len(order)), axis=1)
        return float(sum(abs(part.sum(axis=1)) for part in parts).mean()) / len(order)

    def table(self) -> str:
        """Plain text; columns are two or more spaces apart."""
        rows = [["area under accuracy-coverage", "confidence", "random order", "perfect order"]]
        rows.append(["mean CIDEr", *_figures(areas(self.confidence, self.cider))])
        lines = [f"confidence {self.how}"]
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


def calibrate(
    captions: Sequence[GeneratedCaption], evaluation: Evaluation, seed: int = 1
) -> tuple[Calibration, Reliability]:
    """Fit the confidence to captions and their CIDEr-D.

    Good is a caption with at least half the CIDEr-D that a person's captions of these photos have;
    where no person's is known, with at least the median of these captions.

    Returns
    -------
    The calibration, fitted to all captions, and its reliability: each caption's confidence there
    comes from a fit to other photos (cross-validation).

    Raises
    ------
    ValueError
        There are fewer than `LEAST_PHOTOS` photos, or most captions have a CIDEr-D of 0.
    """
    if len(captions) < LEAST_PHOTOS:
        raise ValueError(
            f"{len(captions)} photos are too few to calibrate a confidence on; it takes at least"
            f" {LEAST_PHOTOS}"
        )
    threshold = evaluation.person.get("CIDEr", 0) / 2 or median(evaluation.cider)
    if threshold <= 0:
        raise ValueError(
            "most of the captions have a CIDEr of 0 and a person's is not known: there is no saying"
            " which are good; train longer, or give each photo several captions"
        )
    cider = np.asarray(evaluation.cider)
    likelihood, good = mean_log_probs(captions), cider >= threshold
    confidence = out_of_fold(likelihood, good, seed)
    how = f"as fitted to other photos, {FOLDS} folds"
    calibration = Calibration(*fit(likelihood, good), threshold)
    return calibration, Reliability(confidence, cider, threshold, how)


def judge(
    captions: Sequence[GeneratedCaption], evaluation: Evaluation, calibration: Calibration | None
) -> Reliability:
    """How a calibration does on these captions; without one, how their likelihood ranks them."""
    cider = np.asarray(evaluation.cider)
    if calibration is None:
        how = "not fitted; captions by the mean log-probability of a token"
        return Reliability(mean_log_probs(captions), cider, None, how)
    confidence = [calibration.confidence(c.log_prob, c.word_count) for c in captions]
    return Reliability(
        np.array(confidence), cider, calibration.threshold, "as the checkpoint has it"
    )


def mean_log_probs(captions: Sequence[GeneratedCaption]) -> Floats:
    """Of a token, ``<end>`` among them; shape = (N,)."""
    return np.array([caption.log_prob / (caption.word_count + 1) for caption in captions])


def fit(values: Floats, good: NDArray[np.bool_]) -> tuple[float, float]:
    """Slope and intercept of the logarithm of the odds of being good: logistic regression.

    Newton's method on the cross-entropy with Platt's targets (Platt 1999), which are a little off 0
    and 1 so that no fit is certain of anything, not even where all are good or all bad.

    Parameters
    ----------
    values
        What the odds follow from, shape = (N,).
    good
        shape = (N,)
    """
    yes, no = int(good.sum()), int((~good).sum())
    targets = np.where(good, (yes + 1) / (yes + 2), 1 / (no + 2))
    centre, spread = float(values.mean()), max(float(values.std()), LEAST_SPREAD)
    design = np.stack([(values - centre) / spread, np.ones_like(values)], axis=1)

    def loss(weights: Floats) -> float:
        odds = design @ weights
        # The ridge is for values that do not differ: their slope is then 0.
        ridge = RIDGE * float(weights @ weights) / 2
        return float((np.logaddexp(0, odds) - targets * odds).sum()) + ridge

    weights = np.array([0.0, math.log((yes + 1) / (no + 1))])
    for _ in range(NEWTON_STEPS):
        share = _sigmoid(design @ weights)
        slope = design.T @ (share - targets) + RIDGE * weights
        curvature = (design.T * (share * (1 - share))) @ design + RIDGE * np.eye(2)
        step = np.linalg.solve(curvature, slope)
        while loss(weights - step) > loss(weights):  # from afar a whole step may lead astray
            step /= 2
        weights -= step
        if abs(step).max() < 1e-9:
            break
    return float(weights[0] / spread), float(weights[1] - weights[0] * centre / spread)


def out_of_fold(values: Floats, good: NDArray[np.bool_], seed: int = 1) -> Floats:
    """Each one's confidence by a `fit` to the other folds, shape = (N,)."""
    fold = np.random.default_rng(seed).permutation(len(values)) % FOLDS
    confidence = np.empty(len(values))
    for k in range(FOLDS):
        slope, intercept = fit(values[fold != k], good[fold != k])
        confidence[fold == k] = _sigmoid(slope * values[fold == k] + intercept)
    return confidence


def accuracy_coverage(confidence: Floats, worth: Floats) -> Floats:
    """The mean worth of the n most confident, n = 1..N (El-Yaniv and Wiener 2010).

    Of equal confidences none comes first: the curve is the mean over all orders of them.

    Returns
    -------
    shape = (N,)
    """
    _, group = np.unique(-confidence, return_inverse=True)
    means = np.bincount(group, worth) / np.bincount(group)
    return np.asarray(np.cumsum(means[np.sort(group)]) / np.arange(1, len(worth) + 1))


def areas(confidence: Floats, worth: Floats) -> Areas:
    """Under `accuracy_coverage` by confidence and, for comparison, by nothing and by worth."""
    orders = confidence, np.zeros_like(worth), worth
    return Areas(*(float(accuracy_coverage(order, worth).mean()) for order in orders))


def _sigmoid(odds: Floats) -> Floats:
    return np.asarray(0.5 * (1 + np.tanh(odds / 2)))  # as `Calibration.confidence`


def _figures(areas: Areas) -> list[str]:
    return [f"{value:.4f}" for value in areas]


def write_picture(reliability: Reliability, out: Path, person: float | None = None) -> None:
    """Draw how far the confidences can be relied on, to a PNG.

    Parameters
    ----------
    reliability
        With a threshold.
    person
        A person's CIDEr-D, for comparison.
    """
    page = Page(10.6, 4.75)
    observed, counts = page.axes(0.85, 0.8, 3.7, 2.6), page.axes(0.85, 3.55, 3.7, 0.6)
    coverage = page.axes(5.75, 0.8, 3.7, 3.35)
    _draw_bins(observed, reliability)
    _draw_counts(counts, reliability)
    kept = _draw_coverage(coverage, reliability, person)
    for axes in (observed, counts, coverage):
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(GREY)
        axes.tick_params(labelsize=9, color=GREY, labelcolor=INK)
        axes.set_axisbelow(True)
        axes.set_xlim(0, 1)
        axes.xaxis.set_major_formatter(PERCENT)
        axes.xaxis.label.set(size=9, color=INK)
        axes.yaxis.label.set(size=9, color=INK)

    off, chance = 100 * reliability.calibration_error(), 100 * reliability.chance_error()
    count, mean = len(reliability.cider), reliability.cider.mean()
    for left, finding, what in (
        (
            0.85,
            f"Confidence is off by {off:.1f} points, by chance {chance:.1f}",
            f"{count} captions in {len(reliability.bins())} groups;"
            f" good is a CIDEr from {reliability.threshold:.2f}",
        ),
        (
            5.75,
            f"The most confident half has CIDEr {kept:.2f}",
            f"mean over the captions kept; of all {mean:.2f}",
        ),
    ):
        page.text(finding, left, 0.4, 11.5, weight="bold")
        page.text(what, left, 0.63, color=GREY)
    write_whole(out, page.png())


def _draw_bins(axes: Axes, reliability: Reliability) -> None:
    """The share of good captions against the confidence, with 95 % intervals."""
    bins = reliability.bins()
    axes.plot([0, 1], [0, 1], color=PALE, linewidth=1.2)
    for count, confidence, share in bins:
        axes.plot([confidence] * 2, _interval(share, count), color=ACCENT, linewidth=4, alpha=0.25)
    axes.plot([b.confidence for b in bins], [b.share for b in bins], "o", color=ACCENT)
    axes.text(0.97, 0.88, "exact", ha="right", va="top", fontsize=9, color=GREY)
    axes.text(0.03, 0.97, "bars: 95 % intervals", va="top", fontsize=9, color=ACCENT)
    axes.set_ylim(0, 1)
    axes.xaxis.set_tick_params(labelbottom=False)
    axes.yaxis.set_major_formatter(PERCENT)
    axes.set_ylabel("captions that are good")


def _draw_counts(axes: Axes, reliability: Reliability) -> None:
    """How many captions have which confidence."""
    axes.hist(reliability.confidence, bins=BARS, color=PALE)
    axes.set_xlabel("confidence")
    axes.set_ylabel("captions")
    axes.locator_params(axis="y", nbins=2, integer=True)


def _draw_coverage(axes: Axes, reliability: Reliability, person: float | None) -> float:
    """Mean CIDEr of the captions that are kept, against how many are; returns that of half."""
    cider = reliability.cider
    confident = accuracy_coverage(reliability.confidence, cider)
    first = max(1, math.ceil(SHOWN * len(cider)))
    kept = np.arange(first, len(cider) + 1)
    best, middle = accuracy_coverage(cider, cider), float(cider.mean())
    for curve, name, color, width in (
        (best, "best first", GREY, 1.2),
        (confident, "most confident first", ACCENT, 2.2),
    ):
        axes.plot(kept / len(cider), curve[kept - 1], color=color, linewidth=width, label=name)
    levels = {"in any order": (middle, GREY)}
    if person:
        levels["a person,\nall photos"] = person, BLUE
    for name, (level, color) in levels.items():
        axes.axhline(level, color=color, linewidth=1.2, zorder=1)
        axes.text(1.02, level, name, va="center", color=color, fontsize=9)
    axes.legend(frameon=False, fontsize=9, labelcolor="linecolor", loc="upper right")
    axes.set_ylim(0, 1.02 * float(best[first - 1]) or 1)
    axes.set_xlabel("captions kept")
    axes.set_ylabel("their mean CIDEr")
    return float(confident[math.ceil(len(cider) / 2) - 1])


def _interval(share: float, count: int) -> tuple[float, float]:
    """The 95 % interval of a probability that was observed as a share (Wilson 1927)."""
    z = 1.96
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z * math.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2) / (1 + z**2 / count)
    return middle - half, middle + half
