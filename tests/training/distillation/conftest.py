"""Folders of photos to teach about, and teachers."""

from __future__ import annotations

from pathlib import Path

import pytest

from model import checkpoint
from model.word_map import WordMap
from training.data.prepare import prepare
from training.data.prepared import Prepared


@pytest.fixture
def uncaptioned(tmp_path: Path, render) -> Prepared:
    """Five prepared photos that nobody has captioned."""
    folder = tmp_path / "more"
    folder.mkdir()
    for number, color in enumerate(("red", "blue", "green", "yellow", "black")):
        (folder / f"{color}.jpg").write_bytes(render(color, size=(90 + number, 100)))
    return prepare(folder, tmp_path / "prepared-more", 96, uncaptioned=True)


@pytest.fixture
def teachers(tiny_checkpoint: Path, tmp_path: Path) -> list[Path]:
    """Two captioners with other weights, of which the second knows more words."""
    network, word_map = checkpoint.load(tiny_checkpoint)
    more = WordMap.build([["shade", "number"]], 1)
    larger, words = checkpoint.with_more_words(network, word_map, more)
    larger.decoder.fc.weight.data.mul_(0.5)
    checkpoint.save(tmp_path / "second", larger, words, "# Second\n")
    return [tiny_checkpoint, tmp_path / "second"]
