"""The picture of how far confidences can be relied on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.calibration import Calibration
from tests.training.scoring.made_up import (
    INTERCEPT,
    SLOPE,
    captions_with_scores,
)
from training.reporting.reliability_picture import write_reliability_picture
from training.scoring.reliability import Reliability, measure_reliability


@pytest.mark.parametrize("count", [1, 3, 200])
def test_the_picture(count: int, tmp_path: Path) -> None:
    captions, evaluation = captions_with_scores(count)
    out = tmp_path / "new" / "reliability.png"
    reliability = measure_reliability(captions, evaluation, Calibration(SLOPE, INTERCEPT, 0.4))
    sizes = []
    for person in (0.8, None):
        write_reliability_picture(reliability, out, person)
        with Image.open(out) as image:
            sizes.append(image.size)
    assert sizes[0] == sizes[1]
    assert out.stat().st_size < 150_000
    worthless = Reliability(reliability.confidence, np.zeros(count), 0.4, "")
    write_reliability_picture(worthless, out)
