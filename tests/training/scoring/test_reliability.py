"""The reliability of the confidence of captions."""

from __future__ import annotations

import numpy as np
import pytest

from model.calibration import Calibration
from tests.training.scoring.made_up import (
    INTERCEPT,
    SLOPE,
    captions_with_scores,
    draw_goodness,
    sigmoid,
)
from training.scoring.reliability import (
    Reliability,
    accuracy_coverage,
    areas,
    measure_reliability,
)


def test_accuracy_coverage_is_a_plain_loop() -> None:
    generator = np.random.default_rng(1)
    confidence, worth = generator.random(40), generator.random(40)
    pairs = sorted(zip(confidence, worth, strict=True), reverse=True)
    wanted = [sum(w for _, w in pairs[:n]) / n for n in range(1, 41)]
    np.testing.assert_allclose(accuracy_coverage(confidence, worth), wanted)
    found = areas(confidence, worth)
    assert found.confident == pytest.approx(sum(wanted) / 40)
    assert found.random == pytest.approx(worth.mean())
    assert found.best == pytest.approx(accuracy_coverage(worth, worth).mean())
    assert found.best >= found.confident


def test_equal_confidences_are_in_no_order() -> None:
    """The mean over both orders of the two in the middle."""
    curve = accuracy_coverage(np.array([0.5, 0.9, 0.5, 0.1]), np.array([1.0, 2.0, 0.0, 5.0]))
    np.testing.assert_allclose(curve, [2, 2.5 / 2, 1, 2])


def test_the_calibration_error_by_hand() -> None:
    """Ten bins of two captions: both of the last bin are good, one of two in the others."""
    confidence = np.repeat(np.linspace(0.05, 0.95, 10), 2)
    cider = np.array([0.0, 1.0] * 9 + [1.0, 1.0])
    reliability = Reliability(confidence, cider, 0.5, "")
    off = [abs(c - 0.5) for c in np.linspace(0.05, 0.85, 9)] + [0.05]
    assert reliability.calibration_error() == pytest.approx(sum(off) / 10)
    assert [b.captions for b in reliability.bins()] == [2] * 10
    backwards = Reliability(confidence[::-1], cider[::-1], 0.5, "")
    assert backwards.bins() == reliability.bins()


def test_exact_confidences_are_off_by_chance_alone() -> None:
    values, _ = draw_goodness(1000)
    confidence, found = sigmoid(SLOPE * values + INTERCEPT), []
    for seed in range(200):
        good = np.random.default_rng(100 + seed).random(1000) < confidence
        found.append(Reliability(confidence, good * 1.0, 0.5, "").calibration_error())
    chance = Reliability(confidence, confidence, 0.5, "").chance_error()
    assert chance == pytest.approx(np.mean(found), rel=0.05)


def test_without_a_calibration_captions_are_ranked_by_likelihood() -> None:
    captions, evaluation = captions_with_scores(100)
    plain = measure_reliability(captions, evaluation, None)
    fitted = measure_reliability(captions, evaluation, Calibration(SLOPE, INTERCEPT, 0.4))
    assert areas(plain.confidence, plain.cider) == areas(fitted.confidence, fitted.cider)
    lines = plain.table().splitlines()
    assert [line.split("  ")[0] for line in lines[1:]] == [
        "area under accuracy-coverage",
        "mean CIDEr",
    ]
    assert fitted.table().splitlines()[1:3] == lines[1:]
    assert f"error  {fitted.calibration_error():.4f}" in fitted.table()
