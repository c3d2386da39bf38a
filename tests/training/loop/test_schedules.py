from __future__ import annotations

import pytest

from training.loop.schedules import rate_factor
from training.stage_options import StageOptions


def test_learning_rate_over_a_stage() -> None:
    cosine = StageOptions(epochs=10, warm_up=1.0)
    assert rate_factor(cosine, 0.0, 0.1, 1.0) == pytest.approx(0.1)
    assert rate_factor(cosine, 0.9, 0.1, 1.0) == pytest.approx(1.0)
    assert rate_factor(cosine, 5.5, 0.1, 1.0) == pytest.approx(0.5)
    assert rate_factor(cosine, 10.0, 0.1, 1.0) == pytest.approx(0.0)
    decay = StageOptions(schedule="decay", warm_up=0.0)
    assert rate_factor(decay, 3.0, 0.1, 0.64) == 0.64
    assert rate_factor(StageOptions(schedule="constant", warm_up=0.0), 3.0, 0.1, 0.64) == 1.0
