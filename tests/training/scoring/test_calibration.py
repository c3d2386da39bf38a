"""The confidence of captions: its fit."""

from __future__ import annotations

import numpy as np
import pytest

from tests.training.scoring.made_up import (
    INTERCEPT,
    SLOPE,
    captions_with_scores,
    draw_goodness,
    sigmoid,
)
from training.scoring.calibration import FOLDS, MIN_PHOTOS, calibrate, fit, out_of_fold, pooled
from training.scoring.evaluation import Evaluation
from training.scoring.reliability import measure_reliability


def test_the_fit_finds_the_odds_that_were_drawn_from() -> None:
    slope, intercept = fit(*draw_goodness(200_000))
    assert slope == pytest.approx(SLOPE, rel=0.02)
    assert intercept == pytest.approx(INTERCEPT, rel=0.02)


def test_the_fit_does_not_depend_on_scale() -> None:
    values, good = draw_goodness(500)
    slope, intercept = fit(values, good)
    assert fit(1000 * values + 7, good) == pytest.approx(
        (slope / 1000, intercept - 7 * slope / 1000), rel=1e-5
    )


def test_no_fit_is_certain() -> None:
    values = np.linspace(-2, -0.5, 60)
    split = fit(values, values > -1)  # a step: without Platt's targets the slope has no end
    assert 0 < split[0] < 1000
    for good, share in ((values < 0, 61 / 62), (values > 0, 1 / 62)):
        slope, intercept = fit(values, good)
        assert sigmoid(slope * values + intercept) == pytest.approx(share, abs=1e-6)
    slope, intercept = fit(np.full(60, -1.1), values > -1)  # nothing to tell captions apart by
    assert slope == pytest.approx(0, abs=1e-3)
    assert sigmoid(intercept - 1.1 * slope) == pytest.approx((values > -1).mean(), abs=0.02)


def test_a_caption_does_not_affect_its_own_confidence() -> None:
    """Changing whether it is good changes the confidence of all captions but those of its fold."""
    values, good = draw_goodness(100)
    before = out_of_fold(values, good)
    for i in (0, 57):
        turned = good.copy()
        turned[i] = not turned[i]
        same = out_of_fold(values, turned) == before
        assert same[i]
        assert same.sum() == 100 / FOLDS


def test_calibrate_finds_the_odds_of_good_captions() -> None:
    captions, evaluation = captions_with_scores(2000)
    calibration, reliability = calibrate(captions, evaluation)
    assert calibration.threshold == 0.4  # half of a person's
    values = np.array([c.log_prob / (c.word_count + 1) for c in captions])
    assert (calibration.slope, calibration.intercept) == fit(values, reliability.good)
    # Where it matters, as the odds they were drawn from.
    own = measure_reliability(captions, evaluation, calibration)
    assert np.abs(own.confidence - sigmoid(SLOPE * values + INTERCEPT)).max() < 0.06
    assert np.abs(own.confidence - reliability.confidence).max() < 0.06
    assert (own.confidence != reliability.confidence).all()
    assert own.confidence[0] == calibration.confidence(captions[0].log_prob, captions[0].word_count)
    assert reliability.calibration_error() < 2 * reliability.chance_error()


def test_captions_of_several_data_sets_are_pooled() -> None:
    captions, first = captions_with_scores(100, person=0.8)
    _, second = captions_with_scores(300, person=0.4)
    both = pooled([first, second])
    assert both.cider == first.cider + second.cider
    assert both.names == first.names + second.names
    assert both.person == {"CIDEr": pytest.approx(0.5)}  # over photos
    assert pooled([first]) is first
    assert pooled([first, captions_with_scores(50, person=None)[1]]).person == {}
    calibration, reliability = calibrate([*captions, *captions_with_scores(300)[0]], both)
    assert calibration.threshold == pytest.approx(0.25)
    part = reliability.part(100, 400)
    assert part.cider.tolist() == list(second.cider)
    assert part.confidence.tolist() == reliability.confidence[100:].tolist()
    assert part.threshold == calibration.threshold


def test_without_a_person_half_of_the_captions_are_good() -> None:
    captions, evaluation = captions_with_scores(100, person=None)
    assert calibrate(captions, evaluation)[0].threshold in (0.1, 0.35, 0.6)
    assert calibrate(captions, evaluation)[0].threshold == np.median(evaluation.cider)


def test_too_few_or_worthless_captions_are_refused() -> None:
    with pytest.raises(ValueError, match=r"49 photos are too few .* at least 50"):
        calibrate(*captions_with_scores(MIN_PHOTOS - 1))
    captions, evaluation = captions_with_scores(MIN_PHOTOS, person=None)
    nothing = Evaluation(evaluation.names, evaluation.captions, (0.0,) * MIN_PHOTOS, {}, {}, {})
    with pytest.raises(ValueError, match="nothing says which captions are good"):
        calibrate(captions, nothing)
