from __future__ import annotations

from pathlib import Path

import pytest

from training.scoring.split import Split


def test_what_is_left_out_of_a_source_is_printed(
    dataset: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (dataset / "Images" / "red_circle.jpg").unlink()
    split = Split.open(dataset, "val", image_size=64)
    assert "red_circle.jpg" not in split.names
    assert "shapes has problems: 2 x missing photo: red_circle.jpg" in caplog.text
