"""A dataset that the tests of prepared folders prepare."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.training.data.reds import COUNT


@pytest.fixture
def source(tmp_path: Path, render: Callable[..., bytes]) -> Path:
    """A folder in Kaggle's form without splits: photos of different shades of red."""
    folder = tmp_path / "reds"
    (folder / "Images").mkdir(parents=True)
    lines = ["image,caption"]
    for i in range(COUNT):
        (folder / "Images" / f"{i}.jpg").write_bytes(render((255 - 6 * i, 0, 0)))
        lines += [f"{i}.jpg,shade number {i}", f"{i}.jpg,a red circle"]
    (folder / "captions.txt").write_text("\n".join(lines) + "\n")
    return folder
