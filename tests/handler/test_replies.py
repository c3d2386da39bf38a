from __future__ import annotations

import base64
import json
from typing import Any

import pytest
import torch

from handler.captioner_handler import CaptionerHandler
from model import DecodingOptions
from tests.handler.fakes import FakeContext, answers


def test_every_request_of_a_batch_gets_its_own_options(handler: CaptionerHandler, render) -> None:
    photos = [render(c, s) for c in ("red", "green", "blue") for s in ("circle", "square")]
    beams = [1, 5, 3, 1, 5, 2]
    headers = [{"x-caption-beam-size": str(k)} for k in beams]
    replies, _ = answers(handler, [{"body": p} for p in photos], headers)
    for reply, photo, k in zip(replies, photos, beams, strict=True):
        wanted = handler.service.captioner.caption([photo], DecodingOptions(k))[0][0]
        assert reply["caption"] == wanted.text
        assert reply["log_prob"] == pytest.approx(wanted.log_prob)


def test_everything_that_a_reply_may_hold(handler: CaptionerHandler, render) -> None:
    flags = ("tokens", "attention", "timing", "image")
    asked = {f"X-Caption-Return-{flag}": "true" for flag in flags}
    headers = [asked | {"X-Caption-Num-Captions": "3"}]
    photo = render(size=(60, 40), format="PNG")
    (reply,), _ = answers(handler, [{"body": photo}], headers)
    best, *others = handler.service.captioner.caption([photo], DecodingOptions(num_captions=3))[0]
    assert [other["caption"] for other in reply["alternatives"]] == [o.text for o in others]
    assert all(set(o) == {"caption", "confidence", "log_prob"} for o in reply["alternatives"])
    assert [token["word"] for token in reply["tokens"]] == [*best.words, "<end>"]
    assert sum(t["log_prob"] for t in reply["tokens"]) == pytest.approx(reply["log_prob"])
    assert reply["attention"]["grid"] == list(best.attention.shape[1:])
    assert [each["word"] for each in reply["attention"]["maps"]] == best.words
    for each, weights in zip(reply["attention"]["maps"], best.attention, strict=True):
        torch.testing.assert_close(torch.tensor(each["weights"], dtype=weights.dtype), weights)
    assert reply["image"] == {"width": 60, "height": 40, "format": "PNG"}
    timing = reply["timing_ms"]
    assert set(timing) == {"decoding", "encoding", "search", "total"}
    assert timing["total"] >= timing["decoding"] + timing["encoding"] + timing["search"] > 0


def test_replies_by_kserve(handler: CaptionerHandler, render) -> None:
    photos = [render("red"), render("blue", "square")]
    texts = [captions[0].text for captions in handler.service.captioner.caption(photos)]
    data = [base64.b64encode(photo).decode() for photo in photos]
    v1 = {"instances": [{"b64": d} for d in data]}
    tensor = {"name": "image", "shape": [2], "datatype": "BYTES", "data": data}
    v2 = {"id": "seven", "inputs": [tensor]}
    broken = {"instances": [{"b64": data[0]}, {"b64": "aGVsbG8="}, {"b64": data[0]}]}
    alone = {"body": photos[1]}
    replies, context = answers(
        handler, [{"body": v1}, {"body": v2}, {"body": broken}, alone], [{}] * 4
    )
    first, second, refused, last = replies
    assert [each["caption"] for each in first["predictions"]] == texts
    assert (second["id"], second["model_name"], second["model_version"]) == (
        "seven",
        "captioner",
        "1.2",
    )
    outputs = {output["name"]: output for output in second["outputs"]}
    assert outputs["caption"]["data"] == texts
    assert outputs["confidence"]["data"] == [p["confidence"] for p in first["predictions"]]
    assert all(output["shape"] == [2] for output in outputs.values())
    assert [json.loads(text)["caption"] for text in outputs["reply"]["data"]] == texts
    assert context.status == {2: 400}
    assert refused["error"]["message"].startswith("image 1: not an image")
    assert last["caption"] == texts[1]


def test_without_calibration_there_is_no_confidence(handler: CaptionerHandler, render) -> None:
    handler.service.captioner.calibration = None
    tensor = {"datatype": "BYTES", "data": [base64.b64encode(render()).decode()]}
    batch = [{"body": render()}, {"body": {"inputs": [tensor]}}]
    (plain, v2), _ = answers(handler, batch)
    assert plain["confidence"] is None
    assert [output["name"] for output in v2["outputs"]] == ["caption", "log_prob", "reply"]
    assert v2["id"] == "request-1"


def test_every_json_reply_is_one_line_with_its_end(handler: CaptionerHandler, render) -> None:
    b64 = base64.b64encode(render()).decode()
    batch = [{"body": render()}, {"body": b"no"}, {}, {"body": {"instances": [{"b64": b64}]}}]
    batch += [{"body": {"inputs": [{"datatype": "BYTES", "data": [b64]}]}}, {"body": "text"}]
    headers: list[dict[str, Any]] = [{} for _ in batch]
    headers[2] = {"describe": "True"}
    found = handler.handle(batch, FakeContext(headers))
    for reply in found:
        assert isinstance(reply, str)
        assert reply.endswith("}\n")
        assert "\n" not in reply[:-1]


def test_explanations_and_predictions_in_one_batch(handler: CaptionerHandler, render) -> None:
    photo = render()
    explain = {"explain": "True"}
    headers: list[dict[str, Any]] = [{}, explain, explain | {"ACCEPT": "image/png"}]
    headers += [{"accept": "image/png"}]
    replies, context = answers(handler, [{"body": photo}] * 4, headers)
    assert "attention" not in replies[0]
    assert {"tokens", "attention"} <= replies[1].keys()
    assert replies[2].startswith(b"\x89PNG")
    assert context.content_type[2] == "image/png"
    assert replies[0].keys() == replies[3].keys()  # predictions are JSON
    assert replies[0]["caption"] == replies[1]["caption"]


def test_explanations_by_kserve_are_json_for_every_photo(handler: CaptionerHandler, render) -> None:
    b64 = base64.b64encode(render()).decode()
    headers = [{"explain": "True", "Accept": "image/png"}]
    (reply,), _ = answers(handler, [{"body": {"instances": [{"b64": b64}] * 2}}], headers)
    # https://kserve.github.io/website/docs/concepts/architecture/data-plane/v1-protocol
    assert [each.keys() for each in reply["explanations"]] == [{"tokens", "attention"}] * 2
    words = [[each["word"] for each in e["tokens"]] for e in reply["explanations"]]
    assert [" ".join(each[:-1]) for each in words] == [p["caption"] for p in reply["predictions"]]
    assert all("attention" not in each for each in reply["predictions"])
