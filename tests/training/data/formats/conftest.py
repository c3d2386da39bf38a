"""A dataset of each kind that several tests read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.training.data.sources import (
    NAMES,
    SENTENCES,
)


@pytest.fixture
def karpathy(dataset: Path) -> dict[str, Any]:
    images = [
        {"filename": name, "split": split, "sentences": SENTENCES}
        for name, split in zip(NAMES, ("train", "restval", "val", "test"), strict=True)
    ]
    (dataset / "captions.txt").unlink()
    return {"images": images, "dataset": "shapes"}
