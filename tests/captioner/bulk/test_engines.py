"""The rows of a captioner in this process, and of a served one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from captioner.bulk.engines import LocalEngine, ServerEngine
from captioner.bulk.photo import Photo
from captioner.bulk.reading import Content, Unreadable
from captioner.bulk.row import Row, RowOptions
from captioner.client import CaptionClient, CaptionError
from model import Captioner, DecodingOptions

DIGEST = "ab" * 32


def named(contents: list[Content]) -> Iterator[tuple[Photo, Content]]:
    for i, content in enumerate(contents):
        yield Photo(f"{i}.jpg", lambda: b"read already"), content


def test_rows_of_a_captioner(tiny_checkpoint: Path, render) -> None:
    captioner, decoding = Captioner.load(tiny_checkpoint), DecodingOptions(num_captions=2)
    good = [render("red"), render("blue")]
    contents = [Unreadable("it is gone"), good[0], b"no photo", good[1], Unreadable("denied")]
    engine = LocalEngine(captioner, decoding, RowOptions(True, True), DIGEST)
    rows = list(engine.rows(named(contents)))
    assert [row.photo for row in rows] == [f"{i}.jpg" for i in range(5)]
    assert [row.failed for row in rows] == [True, False, True, False, True]
    assert (rows[0].error, rows[4].error) == ("it is gone", "denied")
    assert rows[2] == Row("2.jpg", error=rows[2].error)
    assert "not an image" in str(rows[2].error)
    for row, (best, other) in zip(
        (rows[1], rows[3]), captioner.caption(good, decoding), strict=True
    ):
        assert (row.caption, row.confidence, row.model) == (best.text, best.confidence, DIGEST)
        assert row.log_prob == pytest.approx(best.log_prob)
        assert [each["caption"] for each in row.more["alternatives"]] == [other.text]
        assert [each["word"] for each in row.more["tokens"]] == [*best.words, "<end>"]
        total = sum(each["log_prob"] for each in row.more["tokens"])
        assert total == pytest.approx(best.log_prob, abs=1e-3)
    assert engine.place == "cpu"


def test_rows_of_a_server(scripted) -> None:
    def answer(asked: Any) -> tuple[int, Any]:
        if asked.body == b"bad":
            return 400, {"error": {"code": "invalid_image", "message": "not an image"}}
        return 200, {"caption": "a dog", "log_prob": -1.0, "model": {"digest": DIGEST}}

    scripted.answer = answer
    gone = Unreadable("it is gone")
    with CaptionClient(scripted.url) as client:
        engine = ServerEngine(client, {"beam_size": 2}, RowOptions())
        rows = list(engine.rows(named([gone, b"good", gone, b"bad", b"good", gone, gone])))
        assert not list(engine.rows(named([])))
        assert [row.error for row in engine.rows(named([gone]))] == ["it is gone"]
    assert [row.photo for row in rows] == [f"{i}.jpg" for i in range(7)]
    assert [row.error for row in rows] == [
        *("it is gone", None, "it is gone", "not an image", None, "it is gone", "it is gone")
    ]
    assert rows[1] == Row("1.jpg", "a dog", None, -1.0, None, DIGEST)
    assert {asked.headers["x-caption-beam-size"] for asked in scripted.asked} == {"2"}


def test_an_error_that_every_photo_would_meet_ends_the_rows(scripted) -> None:
    scripted.answer = lambda asked: (404, {"code": 404, "type": "NotFound", "message": "no model"})
    with CaptionClient(scripted.url) as client:
        engine = ServerEngine(client, {}, RowOptions())
        with pytest.raises(CaptionError, match="no model"):
            list(engine.rows(named([b"good"])))
