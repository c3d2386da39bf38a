"""Fits the confidence of captions: the probability that a caption of this likelihood is good."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, median

import numpy as np
from numpy.typing import NDArray

from model.calibration import Calibration
from training.scoring.captions import GeneratedCaption
from training.scoring.corpus import Floats
from training.scoring.evaluation import Evaluation
from training.scoring.reliability import Reliability, mean_log_probs

MIN_PHOTOS = 50
FOLDS = 5
NEWTON_STEPS, RIDGE = 100, 1e-6
MIN_SPREAD = 1e-6  # mean log-probabilities with a smaller standard deviation count as equal


def calibrate(
    captions: Sequence[GeneratedCaption], evaluation: Evaluation, seed: int = 1
) -> tuple[Calibration, Reliability]:
    """Fit the confidence to captions and their CIDEr-D.

    A caption counts as good if its CIDEr-D is at least half of what a person's captions of these
    photos have; where a person's is not known, if it is at least the median of these captions.

    Parameters
    ----------
    captions, evaluation
        The captions of N photos, and their scores in the same order.
    seed
        Decides which photos make a fold.

    Returns
    -------
    The calibration, fitted to all captions, and its reliability, in which each caption has the
    confidence of a fit to the photos of the other folds (cross-validation).

    Raises
    ------
    ValueError
        There are fewer than `MIN_PHOTOS` photos, or most captions have a CIDEr-D of 0.
    """
    if len(captions) < MIN_PHOTOS:
        raise ValueError(
            f"{len(captions)} photos are too few to calibrate a confidence on; give at least"
            f" {MIN_PHOTOS}"
        )
    threshold = evaluation.person.get("CIDEr", 0) / 2 or median(evaluation.cider)
    if threshold <= 0:
        raise ValueError(
            "most of the captions have a CIDEr of 0 and no person's CIDEr is known, so nothing says"
            " which captions are good; train longer, or give each photo several captions"
        )
    cider = np.asarray(evaluation.cider)
    likelihood, good = mean_log_probs(captions), cider >= threshold
    confidence = out_of_fold(likelihood, good, seed)
    calibration = Calibration(*fit(likelihood, good), threshold)
    return calibration, Reliability(
        confidence, cider, threshold, f"as fitted to other photos, {FOLDS} folds"
    )


def pooled(evaluations: Sequence[Evaluation]) -> Evaluation:
    """Return the captions of several data sets as one evaluation, to calibrate on.

    Each caption keeps the CIDEr-D that it has in its own data set, which weighs words by that
    set's references. A person's CIDEr is the mean over all photos, if each data set has one. Other
    scores have no meaning for photos of several data sets and are left out.
    """
    if len(evaluations) == 1:
        return evaluations[0]
    person: dict[str, float] = {}
    if all("CIDEr" in each.person for each in evaluations):
        weights = [len(each.names) for each in evaluations]
        person["CIDEr"] = fmean((each.person["CIDEr"] for each in evaluations), weights)
    return Evaluation(
        names=tuple(name for each in evaluations for name in each.names),
        captions=tuple(caption for each in evaluations for caption in each.captions),
        cider=tuple(value for each in evaluations for value in each.cider),
        scores={},
        person=person,
        unavailable={},
    )


def fit(values: Floats, good: NDArray[np.bool_]) -> tuple[float, float]:
    """Return slope and intercept of the logarithm of the odds of being good: logistic regression.

    Newton's method on the cross-entropy with Platt's targets (Platt 1999). Those are a little above
    0 and below 1, so that no fit is certain of anything, even where all captions are good or bad.

    Parameters
    ----------
    values
        What the odds are computed from, shape = (N,).
    good
        Which captions are good, shape = (N,).
    """
    yes, no = int(good.sum()), int((~good).sum())
    targets = np.where(good, (yes + 1) / (yes + 2), 1 / (no + 2))
    centre, spread = float(values.mean()), max(float(values.std()), MIN_SPREAD)
    design = np.stack([(values - centre) / spread, np.ones_like(values)], axis=1)

    def loss(weights: Floats) -> float:
        odds = design @ weights
        # The ridge makes the slope 0 where all values are equal.
        ridge = RIDGE * float(weights @ weights) / 2
        return float((np.logaddexp(0, odds) - targets * odds).sum()) + ridge

    weights = np.array([0.0, math.log((yes + 1) / (no + 1))])
    for _ in range(NEWTON_STEPS):
        share = _sigmoid(design @ weights)
        slope = design.T @ (share - targets) + RIDGE * weights
        curvature = (design.T * (share * (1 - share))) @ design + RIDGE * np.eye(2)
        step = np.linalg.solve(curvature, slope)
        while loss(weights - step) > loss(weights):  # far from the minimum a step may be too long
            step /= 2
        weights -= step
        if abs(step).max() < 1e-9:
            break
    return float(weights[0] / spread), float(weights[1] - weights[0] * centre / spread)


def out_of_fold(values: Floats, good: NDArray[np.bool_], seed: int = 1) -> Floats:
    """Return the confidence of each caption by a `fit` to the other folds, shape = (N,)."""
    fold = np.random.default_rng(seed).permutation(len(values)) % FOLDS
    confidence = np.empty(len(values))
    for k in range(FOLDS):
        slope, intercept = fit(values[fold != k], good[fold != k])
        confidence[fold == k] = _sigmoid(slope * values[fold == k] + intercept)
    return confidence


def _sigmoid(odds: Floats) -> Floats:
    return np.asarray(0.5 * (1 + np.tanh(odds / 2)))  # as in `Calibration.confidence`
