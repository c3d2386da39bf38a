"""Rows as lines: captions on standard output, errors by the command's own messages."""

from __future__ import annotations

import pytest

from captioner.bulk.lines import LineSink
from captioner.bulk.row import Row
from captioner.bulk.run import Counts

OTHER = {"caption": "a cat", "confidence": 0.25, "log_prob": -2.0}
ROWS = [
    Row("a.jpg", "a dog", 0.714, -1.256, more={"alternatives": [OTHER]}),
    Row("b.jpg", error="not an image"),
    Row("two\nlines.jpg", "a cow", None, -3.0),
    Row("c.jpg", None, 0.1, -9.0, "confidence 0.1000 is below 0.5", more={"alternatives": []}),
]


@pytest.mark.parametrize("verbose", [False, True])
def test_lines(verbose: bool, capsys: pytest.CaptureFixture[str]) -> None:
    errors: list[str] = []
    sink = LineSink(errors.append, verbose)
    for row in ROWS:
        sink.write(row)
    assert sink.finish() == Counts(4, 1)
    plain = [
        "a.jpg: a dog (confidence 0.71)",
        "a.jpg: a cat (confidence 0.25)",
        "two\\nlines.jpg: a cow",
    ]
    with_figures = [
        "a.jpg: a dog (confidence 0.71, log-probability -1.26)",
        "a.jpg: a cat (confidence 0.25, log-probability -2.00)",
        "two\\nlines.jpg: a cow (log-probability -3.00)",
    ]
    assert capsys.readouterr().out.splitlines() == (with_figures if verbose else plain)
    assert errors == ["b.jpg: not an image", "c.jpg: confidence 0.1000 is below 0.5"]
