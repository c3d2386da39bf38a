from __future__ import annotations

import base64
from typing import Any

import pytest

from handler import budget
from handler.captioner_handler import CaptionerHandler
from model.image.cost import estimate
from tests.handler.fakes import answers


def test_a_request_that_is_too_expensive_is_refused_with_its_numbers(
    handler: CaptionerHandler, render, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kserve(*photos: bytes) -> dict[str, Any]:
        return {"body": {"instances": [{"b64": base64.b64encode(p).decode()} for p in photos]}}

    small, large = render(), render(size=(1000, 1000), format="PNG")
    batch = [kserve(*[large] * 3), {"body": large}, kserve(*[small] * 30), {"body": b"no"}]
    monkeypatch.setattr(budget, "MAX_PIXELS", 2_500_000)
    replies, context = answers(handler, batch)
    assert context.status == {0: 413, 3: 400}
    assert replies[0]["error"] == {
        "code": "too_large",
        "message": "the request's 3 photos together have 3,000,000 pixels; at most 2,500,000 are"
        " accepted: send fewer photos in a request, or smaller ones",
    }
    assert len(replies[2]["predictions"]) == 30
    monkeypatch.undo()
    monkeypatch.setattr(budget, "MAX_SECONDS", 0.12)
    replies, context = answers(handler, batch)
    assert context.status == {0: 413, 3: 400}
    assert "3,000,000 pixels, which would take about 0.2 s" in replies[0]["error"]["message"]
    assert "at most 0.12 s are accepted" in replies[0]["error"]["message"]


def test_a_batch_answers_its_cheapest_requests_and_is_busy_for_the_others(
    handler: CaptionerHandler, render, monkeypatch: pytest.MonkeyPatch
) -> None:
    small, large = render(), render(size=(1000, 1000), format="PNG")
    monkeypatch.setattr(budget, "MAX_BATCH_SECONDS", estimate(large).seconds * 1.5)
    batch = [{"body": large}, {"body": small}, {"body": large}, {"body": small}, {"body": b"no"}]
    replies, context = answers(handler, batch)
    assert context.status == {2: 503, 4: 400}
    assert context.response_headers == {2: {"Retry-After": "5"}}
    assert replies[2]["error"]["code"] == "busy"
    for place in (0, 1, 3):
        (caption,) = handler.service.captioner.caption([batch[place]["body"]])[0]
        assert replies[place]["caption"] == caption.text
    assert context.metrics.values("captioner_photos_total") == [4]


def test_one_request_is_answered_however_short_the_time(
    handler: CaptionerHandler, render, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler.service.time_limit = 0
    monkeypatch.setattr(budget, "MAX_BATCH_SECONDS", 0)
    b64 = base64.b64encode(render()).decode()
    (reply,), context = answers(handler, [{"body": {"instances": [{"b64": b64}] * 32}}])
    assert len(reply["predictions"]) == 32
    assert not context.status


def test_requests_for_which_there_is_no_time_are_busy(handler: CaptionerHandler, render) -> None:
    """Photos are captioned 32 at a time, beginning with those of the cheapest request."""
    handler.service.time_limit = 0
    b64 = base64.b64encode(render()).decode()
    batch = [{"body": {"instances": [{"b64": b64}] * 32}}] * 3 + [{"body": render("blue")}]
    replies, context = answers(handler, batch)
    assert context.status == {0: 503, 1: 503, 2: 503}
    assert replies[3]["caption"]
