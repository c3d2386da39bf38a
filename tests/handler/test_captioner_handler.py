from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from handler.captioner_handler import CaptionerHandler, _threads
from model import Captioner, DecodingOptions
from model.network import ShowAttendTell
from model.word_map import WordMap


class FakeContext:
    """What TorchServe's context does, as far as the handler asks for it."""

    def __init__(self, folder: Path, config: dict[str, Any] | None = None) -> None:
        self.system_properties = {"model_dir": str(folder), "gpu_id": None}
        self.model_yaml_config = config or {}
        self.status: dict[int, int] = {}
        self.content_type: dict[int, str] = {}

    def set_response_status(self, code: int, phrase: str, idx: int) -> None:
        self.status[idx] = code

    def set_response_content_type(self, idx: int, value: str) -> None:
        self.content_type[idx] = value


@pytest.fixture
def handler(network: ShowAttendTell, word_map: WordMap) -> CaptionerHandler:
    handler = CaptionerHandler()
    handler.captioner = Captioner(network, word_map)
    handler.options = DecodingOptions()
    return handler


def test_a_mixed_batch(handler: CaptionerHandler, render, tmp_path: Path) -> None:
    red, blue = render("red"), render("blue", "square", format="PNG")
    batch = [
        {"body": bytearray(red)},
        {"body": bytearray(b"not a photo")},
        {"data": bytearray(blue)},
        {"body": {"image": "aGVsbG8="}},
        {"body": bytearray()},
        {"body": "text"},
        {},
        {"photo": bytearray(red)},
    ]
    context = FakeContext(tmp_path)
    replies = [json.loads(reply) for reply in handler.handle(batch, context)]
    assert len(replies) == len(batch)
    assert set(context.status) == {1, 3, 4, 5, 6}
    assert set(context.status.values()) == {400}
    assert set(context.content_type.values()) == {"application/json"}
    assert len(context.content_type) == len(batch)

    wanted = [captions[0] for captions in handler.captioner.caption([red, blue])]
    assert [replies[i]["caption"] for i in (0, 2, 7)] == [wanted[i].text for i in (0, 1, 0)]
    assert replies[0]["log_prob"] == pytest.approx(wanted[0].log_prob, rel=1e-4)
    for i in context.status:
        assert set(replies[i]) == {"error"}
        assert replies[i]["error"]["code"] == "invalid_image"
    assert "not an image" in replies[1]["error"]["message"]
    assert "curl -T" in replies[3]["error"]["message"]
    assert "empty" in replies[4]["error"]["message"]


def test_one_call_for_a_batch(
    handler: CaptionerHandler, render, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    caption_each = handler.captioner.caption_each
    monkeypatch.setattr(
        handler.captioner,
        "caption_each",
        lambda photos, options: calls.append(len(photos)) or caption_each(photos, options),
    )
    batch = [{"body": bytearray(render(color))} for color in ("red", "green", "blue")]
    handler.handle([*batch, {"body": "text"}], FakeContext(tmp_path))
    assert calls == [3]


def test_decoding_options_apply(handler: CaptionerHandler, render, tmp_path: Path) -> None:
    handler.options = DecodingOptions(beam_size=1, max_length=2)
    (reply,) = handler.handle([{"body": bytearray(render())}], FakeContext(tmp_path))
    assert len(json.loads(reply)["caption"].split()) <= 2


@pytest.mark.parametrize(
    ("config", "cores", "threads"),
    [
        ({}, 8, 8),
        ({"maxWorkers": 3}, 8, 2),
        ({"maxWorkers": 16}, 8, 1),
        ({"maxWorkers": 2, "handler": {"threads": 0}}, 8, 4),
        ({"maxWorkers": 2, "handler": {"threads": 6}}, 8, 6),
    ],
)
def test_workers_share_the_cores(config: dict[str, Any], cores: int, threads: int) -> None:
    assert _threads(config, cores) == threads


def test_refuses_code_from_outside_its_archive(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="not its archive's code"):
        CaptionerHandler().initialize(FakeContext(tmp_path))
