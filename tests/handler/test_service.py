"""The service answers requests without TorchServe, as an ASGI app would use it."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from captioner.paths import ROOT
from handler.options import RequestOptions
from handler.routes import Route
from handler.service import CaptionService, IncomingRequest
from model import Captioner
from model.network import ShowAttendTell
from model.word_map import WordMap
from tests.handler.fakes import ABOUT


@pytest.fixture
def service(network: ShowAttendTell, word_map: WordMap, tmp_path: Path) -> CaptionService:
    return CaptionService(Captioner(network, word_map), RequestOptions(), ABOUT, tmp_path)


def test_requests_of_every_route(service: CaptionService, render) -> None:
    photo, accept = render(), {"accept": "image/png"}
    batch = service.answer(
        [
            IncomingRequest("a", Route.PREDICT, {"body": photo}, accept),
            IncomingRequest("b", Route.EXPLAIN, {"body": photo}, {}),
            IncomingRequest("c", Route.EXPLAIN, {"body": photo}, accept),
            IncomingRequest("d", Route.DESCRIBE, {}, {}),
            IncomingRequest("e", Route.PREDICT, {"body": b"no photo"}, {}),
        ]
    )
    assert [each.id for each in batch.requests] == list("abcde")
    (caption,) = service.captioner.caption([photo])[0]
    predicted, explained, picture, described, refused = [each.reply for each in batch.requests]
    assert json.loads(predicted.body)["caption"] == caption.text
    assert {"tokens", "attention"} <= json.loads(explained.body).keys()
    assert picture.media_type == "image/png"
    assert isinstance(picture.body, bytes)
    assert picture.body.startswith(b"\x89PNG")
    assert json.loads(described.body)["model"] == ABOUT
    assert described.outcome == "description"
    assert (refused.status, refused.outcome) == (400, "invalid_image")
    assert json.loads(refused.body)["request_id"] == "e"
    assert len([*batch.photos()]) == 4
    assert batch.timing_ms["total"] > 0


def test_a_busy_reply_says_when_to_ask_again(service: CaptionService, render) -> None:
    service.time_limit = 0
    form = IncomingRequest("a", Route.PREDICT, {"data": render()}, {})
    batch = service.answer([form] * 33)  # of which 32 are captioned together
    assert [each.reply.status for each in batch.requests].count(503) == 1
    (busy,) = [each for each in batch.requests if each.reply.status == 503]
    assert busy.reply.headers == {"Retry-After": "5"}
    assert busy.captions is None


def test_no_module_imports_torchserve() -> None:
    for path in (ROOT / "handler").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            assert "ts" not in {name.split(".")[0] for name in names}, path
