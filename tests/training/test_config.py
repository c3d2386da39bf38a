from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from training.config import SelfCriticalOptions, StageOptions, TrainingConfig


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"label_smoothing": 1.5}, "label_smoothing is 1.5"),
        ({"ema_decay": 1.0}, "ema_decay is 1.0"),
        ({"decoder": StageOptions(epochs=0)}, "nothing to train"),
    ],
)
def test_configuration_says_what_is_allowed(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainingConfig(data=Path("x"), out=Path("y"), **change)


def test_stage_options_say_what_is_allowed() -> None:
    with pytest.raises(ValueError, match=r"learning_rate is 0\.0"):
        StageOptions(learning_rate=0.0)
    with pytest.raises(ValueError, match="samples is 1"):  # nothing to compare it with
        SelfCriticalOptions(samples=1)
