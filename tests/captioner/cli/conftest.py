"""Fixtures that the tests of the commands share."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from model import checkpoint
from model.network import ShowAttendTell
from model.word_map import WordMap


@pytest.fixture(autouse=True)
def _process_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo what `captioner bench` sets in its process for the benchmarks to be found."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))


@pytest.fixture
def folder(tmp_path: Path, network: ShowAttendTell, word_map: WordMap) -> Path:
    """A checkpoint folder of its own for a test, named ``tiny``."""
    checkpoint.save(tmp_path / "tiny", network, word_map, "")
    return tmp_path / "tiny"
