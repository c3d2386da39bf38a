from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from handler.captioner_handler import CaptionerHandler
from tests.handler.fakes import answers


def test_each_request_is_one_line_of_the_log(
    handler: CaptionerHandler, render, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    secret = b"no photo but SECRET"
    batch: list[dict[str, Any]] = [{"body": render()}, {"body": secret}, {}, {"data": "SECRET"}]
    batch.append({"body": {"id": "SECRET", "inputs": [{"datatype": "SECRET"}]}})
    headers: list[dict[str, Any]] = [{} for _ in batch]
    headers[0] = {"X-Caption-Beam-Size": "3", "X-Secret": "SECRET"}
    headers[2] = {"describe": "True"}
    answers(handler, batch, headers)
    lines = [r.getMessage() for r in caplog.records if r.name == "captioner.requests"]
    assert [r.levelno for r in caplog.records if r.name == "captioner.requests"] == [20] * 5
    assert not any("SECRET" in r.getMessage() or "\n" in r.getMessage() for r in caplog.records)
    logged = [json.loads(line.removeprefix("request ")) for line in lines]
    assert [(each["request_id"], each["status"], each["outcome"]) for each in logged] == [
        ("request-0", 200, "ok"),
        ("request-1", 400, "invalid_image"),
        ("request-2", 200, "description"),
        ("request-3", 415, "unsupported_media_type"),
        ("request-4", 400, "invalid_request"),
    ]
    for each in logged:
        assert (each["model"], each["version"]) == ("captioner", "1.2")
        assert (each["batch"]["requests"], each["batch"]["photos"]) == (5, 2)
        assert set(each["batch"]["ms"]) == {"decoding", "encoding", "search", "total"}
    assert [each["photos"] for each in logged] == [1, 1, 0, 0, 0]


def test_the_requests_of_a_failed_batch_are_logged(
    handler: CaptionerHandler,
    render,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    caplog.set_level(logging.INFO)
    monkeypatch.setattr(handler.service.captioner, "caption_each", fail)
    with pytest.raises(MemoryError):
        answers(handler, [{"body": render()}] * 2)
    lines = [r.getMessage() for r in caplog.records if r.name == "captioner.requests"]
    logged = [json.loads(line.removeprefix("request ")) for line in lines]
    assert [each["outcome"] for each in logged] == ["failed", "failed"]
    assert [each["request_id"] for each in logged] == ["request-0", "request-1"]
