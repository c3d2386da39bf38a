"""Rows for a caption, an error and a caption that is not confident."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from captioner.bulk.row import COLUMNS, Row, RowOptions, encodable

BEST = SimpleNamespace(log_prob=-1.23456, confidence=0.71239)
OTHER = SimpleNamespace(log_prob=-2.0, confidence=0.3)
WORDS = [("a", -0.25), ("dog", -0.5), ("<end>", -0.48456)]


def row(options: RowOptions, best: SimpleNamespace = BEST) -> Row:
    return options.row("dog.jpg", "a dog", best, [("a cat", OTHER)], WORDS, "ab")


def test_a_captions_columns() -> None:
    assert RowOptions().columns == COLUMNS
    assert row(RowOptions()).to_dict(COLUMNS) == {
        "photo": "dog.jpg",
        "caption": "a dog",
        "confidence": 0.7124,
        "log_prob": -1.2346,
        "error": None,
        "model": "ab",
    }


def test_columns_that_options_ask_for() -> None:
    options = RowOptions(alternatives=True, tokens=True)
    assert options.columns == (*COLUMNS, "alternatives", "tokens")
    values = row(options).to_dict(options.columns)
    assert values["alternatives"] == [{"caption": "a cat", "confidence": 0.3, "log_prob": -2.0}]
    assert [each["word"] for each in values["tokens"]] == ["a", "dog", "<end>"]
    failed = Row("x.jpg", error="no").to_dict(options.columns)
    assert tuple(failed) == options.columns
    assert failed["alternatives"] is failed["tokens"] is None


def test_a_caption_of_low_confidence_is_left_out_with_the_reason() -> None:
    options = RowOptions(alternatives=True, tokens=True, min_confidence=0.8)
    found = row(options)
    assert (found.caption, found.confidence) == (None, 0.71239)
    assert found.error == "confidence 0.7124 is below 0.8"
    assert found.more == {"alternatives": [], "tokens": []}
    assert not found.failed
    assert row(RowOptions(min_confidence=0.71239)).caption == "a dog"


def test_a_least_confidence_needs_confidences() -> None:
    with pytest.raises(ValueError, match="confidences"):
        row(RowOptions(min_confidence=0.5), SimpleNamespace(log_prob=-1.0, confidence=None))
    with pytest.raises(ValueError, match=r"--min-confidence is 2; it must be in 0\.\.1"):
        RowOptions(min_confidence=2)


def test_names_that_are_not_utf8_become_text() -> None:
    assert encodable(os.fsdecode(b"caf\xe9 \xf0\x9f\x90\x95.jpg")) == "caf\\xe9 🐕.jpg"
    assert encodable("ein Hündchen.jpg") == "ein Hündchen.jpg"
