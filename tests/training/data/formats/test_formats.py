"""The table of formats: every reader says what it reads, and so does the documentation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from training.data import datasets
from training.data.formats import READERS, recognise
from training.data.problems import InvalidDataset

ROOT = Path(__file__).resolve().parents[4]


def test_every_format_is_documented_and_says_what_it_looks_like() -> None:
    table = re.findall(r"^\| `([a-z0-9-]+)` \|", (ROOT / "docs" / "train.md").read_text(), re.M)
    assert set(READERS) <= set(table)
    assert all(reader.LAYOUT and reader.__doc__ for reader in READERS.values())


def test_a_source_that_fits_several_formats_is_ambiguous(dataset: Path) -> None:
    (dataset / "more.csv").write_text("image,caption\nred_circle.jpg,red\n")
    (dataset / "Images" / "red_circle.txt").write_text("red")
    message = r"kaggle \(captions\.txt\); table \(more\.csv\); sidecar \(red_circle\.txt\); choose"
    with pytest.raises(InvalidDataset, match=message):
        recognise(dataset)
    for form in ("kaggle", "table", "sidecar"):
        assert datasets.read(dataset, form).format == form
