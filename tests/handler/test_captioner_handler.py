from __future__ import annotations

import base64
import errno
import json
import logging
import math
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml

from handler import budget
from handler.captioner_handler import CaptionerHandler, _is_fatal
from handler.metrics import Metrics
from handler.options import RequestOptions
from handler.shadow import ENDING, FOLDER, SETTINGS, Copy, Settings, Shadow
from handler.workers import Workers
from model import Captioner, DecodingOptions
from model.calibration import Calibration
from model.image.cost import estimate
from model.network import ShowAttendTell
from model.word_map import WordMap

HANDLER = Path(__file__).resolve().parents[2] / "handler"
ABOUT = {"name": "captioner", "version": "1.2", "digest": "d1"}


class FakeMetrics:
    """``context.metrics``: what was added to the metrics that the server is configured with."""

    def __init__(self) -> None:
        listed = yaml.safe_load((HANDLER / "metrics.yaml").read_text())["model_metrics"]
        self.added: dict[str, list[tuple[float, list[str]]]] = {}
        self.cache = {
            kind: {metric["name"]: self.metric(**metric) for metric in metrics}
            for kind, metrics in listed.items()
        }

    def metric(self, name: str, unit: str, dimensions: list[str]) -> Any:
        added = self.added.setdefault(name, [])

        def add_or_update(value: float, labels: list[str]) -> None:
            assert len(labels) == len(dimensions)
            added.append((value, labels))

        return SimpleNamespace(add_or_update=add_or_update)

    def values(self, name: str) -> list[float]:
        return [value for value, _ in self.added[name]]


class FakeContext:
    """What TorchServe's context does, as far as the handler asks for it."""

    def __init__(self, headers: list[dict[str, Any]] | int = 1, folder: Path | None = None) -> None:
        self.headers = [{}] * headers if isinstance(headers, int) else headers
        self.system_properties = {"model_dir": str(folder), "gpu_id": None}
        self.model_yaml_config: dict[str, Any] = {}
        self.model_name = "captioner"
        self.manifest = {"model": {"modelName": "packaged-as", "modelVersion": "1.2"}}
        self.metrics = FakeMetrics()
        self.status: dict[int, int] = {}
        self.content_type: dict[int, str] = {}
        self.response_headers: dict[int, dict[str, str]] = {}

    def get_all_request_header(self, idx: int) -> dict[str, Any]:
        return self.headers[idx]

    def get_request_id(self, idx: int) -> str:
        return f"request-{idx}"

    def set_response_status(self, code: int, phrase: str, idx: int) -> None:
        assert phrase.isascii()
        self.status[idx] = code

    def set_response_content_type(self, idx: int, value: str) -> None:
        self.content_type[idx] = value

    def set_response_header(self, idx: int, key: str, value: str) -> None:
        self.response_headers.setdefault(idx, {})[key] = value


@pytest.fixture
def handler(network: ShowAttendTell, word_map: WordMap, tmp_path: Path) -> CaptionerHandler:
    handler = CaptionerHandler()
    handler.captioner = Captioner(network.double(), word_map, Calibration(1.0, 0.0, 0.5))
    handler.options = RequestOptions()
    handler.model = ABOUT
    handler.metrics = Metrics(FakeMetrics(), "captioner", "1.2")
    handler.shadow = Shadow(tmp_path / FOLDER, "1.2", handler.options)
    handler.folder = tmp_path
    return handler


def answers(
    handler: CaptionerHandler,
    data: list[dict[str, Any]],
    headers: list[dict[str, Any]] | None = None,
) -> tuple[list[Any], FakeContext]:
    context = FakeContext(headers or len(data))
    handler.metrics = Metrics(context.metrics, "captioner", "1.2")
    found = handler.handle(data, context)
    assert len(found) == len(data) == len(context.content_type)
    return [json.loads(f) if isinstance(f, str) else f for f in found], context


def test_a_mixed_batch(handler: CaptionerHandler, render) -> None:
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
        {"body": bytearray(b"%PDF-1.7 ...")},
    ]
    replies, context = answers(handler, batch)
    codes = {i: replies[i]["error"]["code"] for i in context.status}
    assert codes == {
        1: "invalid_image",
        3: "invalid_request",
        4: "invalid_image",
        5: "unsupported_media_type",
        6: "invalid_request",
        8: "unsupported_media_type",
    }
    assert context.status == {1: 400, 3: 400, 4: 400, 5: 415, 6: 400, 8: 415}
    assert set(context.content_type.values()) == {"application/json"}
    assert "not an image" in replies[1]["error"]["message"]
    assert "empty" in replies[4]["error"]["message"]
    for i, reply in enumerate(replies):
        assert reply["request_id"] == f"request-{i}"

    wanted = [captions[0] for captions in handler.captioner.caption([red, blue])]
    for i, caption in ((0, wanted[0]), (2, wanted[1]), (7, wanted[0])):
        assert replies[i] == {
            "caption": caption.text,
            "confidence": pytest.approx(caption.confidence),
            "log_prob": pytest.approx(caption.log_prob),
            "model": ABOUT,
            "request_id": f"request-{i}",
        }


def test_every_request_of_a_batch_gets_its_own_options(handler: CaptionerHandler, render) -> None:
    photos = [render(c, s) for c in ("red", "green", "blue") for s in ("circle", "square")]
    beams = [1, 5, 3, 1, 5, 2]
    headers = [{"x-caption-beam-size": str(k)} for k in beams]
    replies, _ = answers(handler, [{"body": p} for p in photos], headers)
    for reply, photo, k in zip(replies, photos, beams, strict=True):
        wanted = handler.captioner.caption([photo], DecodingOptions(k))[0][0]
        assert reply["caption"] == wanted.text
        assert reply["log_prob"] == pytest.approx(wanted.log_prob)


def test_everything_on_demand(handler: CaptionerHandler, render) -> None:
    flags = ("tokens", "attention", "timing", "image")
    asked = {f"X-Caption-Return-{flag}": "true" for flag in flags}
    headers = [asked | {"X-Caption-Num-Captions": "3"}]
    photo = render(size=(60, 40), format="PNG")
    (reply,), _ = answers(handler, [{"body": photo}], headers)
    best, *others = handler.captioner.caption([photo], DecodingOptions(num_captions=3))[0]
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


def test_explanations_beside_predictions(handler: CaptionerHandler, render) -> None:
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


def test_kserves_protocols(handler: CaptionerHandler, render) -> None:
    photos = [render("red"), render("blue", "square")]
    texts = [captions[0].text for captions in handler.captioner.caption(photos)]
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
    assert [json.loads(told)["caption"] for told in outputs["reply"]["data"]] == texts
    assert context.status == {2: 400}
    assert refused["error"]["message"].startswith("image 1: not an image")
    assert last["caption"] == texts[1]


def test_a_captioner_without_calibration_claims_no_confidence(
    handler: CaptionerHandler, render
) -> None:
    handler.captioner.calibration = None
    tensor = {"datatype": "BYTES", "data": [base64.b64encode(render()).decode()]}
    batch = [{"body": render()}, {"body": {"inputs": [tensor]}}]
    (plain, v2), _ = answers(handler, batch)
    assert plain["confidence"] is None
    assert [output["name"] for output in v2["outputs"]] == ["caption", "log_prob", "reply"]
    assert v2["id"] == "request-1"


def test_every_json_reply_ends_its_line(handler: CaptionerHandler, render) -> None:
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


def test_a_description_or_an_explanation_is_no_callers_to_order(
    handler: CaptionerHandler, render
) -> None:
    """TorchServe adds ``explain`` to what comes by way of predictions, after the caller's own."""
    photo = {"body": render()}
    marked = {"explain": "False"}
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    asked = [
        (photo, marked | {"describe": "True"}),
        (photo, {"describe": "True"}),
        (photo, marked | {"Describe": "True", "DESCRIBE": "True"}),
        (photo, marked | {"Explain": "True", "EXPLAIN": "True"}),
        ({}, form | marked | {"describe": "True"}),
        ({}, form | {"describe": "True"}),
        ({}, {"content-type": "image/jpeg", "describe": "True"}),
        ({"data": render(), "describe": b"True"}, marked),
    ]
    replies, _ = answers(handler, *map(list, zip(*asked, strict=True)))
    assert all("card" not in reply and "attention" not in reply for reply in replies)
    assert ["caption" in reply for reply in replies] == [True] * 4 + [False] * 4


def test_a_picture_shows_one_photo_and_kserves_protocols_answer_for_all(
    handler: CaptionerHandler, render
) -> None:
    b64 = base64.b64encode(render()).decode()
    headers = [{"explain": "True", "Accept": "image/png"}]
    (reply,), _ = answers(handler, [{"body": {"instances": [{"b64": b64}] * 2}}], headers)
    # https://kserve.github.io/website/docs/concepts/architecture/data-plane/v1-protocol
    assert [each.keys() for each in reply["explanations"]] == [{"tokens", "attention"}] * 2
    words = [[each["word"] for each in told["tokens"]] for told in reply["explanations"]]
    assert [" ".join(each[:-1]) for each in words] == [p["caption"] for p in reply["predictions"]]
    assert all("attention" not in each for each in reply["predictions"])


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


def test_a_batch_answers_the_cheapest_requests_and_sends_the_rest_away(
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
        (caption,) = handler.captioner.caption([batch[place]["body"]])[0]
        assert replies[place]["caption"] == caption.text
    assert context.metrics.values("captioner_photos_total") == [4]


def test_one_request_is_answered_however_little_time_there_is(
    handler: CaptionerHandler, render, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler.time_limit = 0
    monkeypatch.setattr(budget, "MAX_BATCH_SECONDS", 0)
    b64 = base64.b64encode(render()).decode()
    (reply,), context = answers(handler, [{"body": {"instances": [{"b64": b64}] * 32}}])
    assert len(reply["predictions"]) == 32
    assert not context.status


def test_when_time_runs_out_the_rest_is_sent_away(handler: CaptionerHandler, render) -> None:
    """Photos are captioned 32 at a time, those of a cheap request before an expensive one's."""
    handler.time_limit = 0
    b64 = base64.b64encode(render()).decode()
    batch = [{"body": {"instances": [{"b64": b64}] * 32}}] * 3 + [{"body": render("blue")}]
    replies, context = answers(handler, batch)
    assert context.status == {0: 503, 1: 503, 2: 503}
    assert replies[3]["caption"]


def test_a_line_of_the_log_for_each_request(
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
    told = [json.loads(line.removeprefix("request ")) for line in lines]
    assert [(each["request_id"], each["status"], each["outcome"]) for each in told] == [
        ("request-0", 200, "ok"),
        ("request-1", 400, "invalid_image"),
        ("request-2", 200, "description"),
        ("request-3", 415, "unsupported_media_type"),
        ("request-4", 400, "invalid_request"),
    ]
    for each in told:
        assert (each["model"], each["version"]) == ("captioner", "1.2")
        assert (each["batch"]["requests"], each["batch"]["photos"]) == (5, 2)
        assert set(each["batch"]["ms"]) == {"decoding", "encoding", "search", "total"}
    assert [each["photos"] for each in told] == [1, 1, 0, 0, 0]


def test_a_batch_that_fails_is_in_the_log_too(
    handler: CaptionerHandler,
    render,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    caplog.set_level(logging.INFO)
    monkeypatch.setattr(handler.captioner, "caption_each", fail)
    with pytest.raises(MemoryError):
        answers(handler, [{"body": render()}] * 2)
    lines = [r.getMessage() for r in caplog.records if r.name == "captioner.requests"]
    told = [json.loads(line.removeprefix("request ")) for line in lines]
    assert [each["outcome"] for each in told] == ["failed", "failed"]
    assert [each["request_id"] for each in told] == ["request-0", "request-1"]


def test_one_call_for_a_batch(
    handler: CaptionerHandler, render, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    caption_each = handler.captioner.caption_each
    monkeypatch.setattr(
        handler.captioner,
        "caption_each",
        lambda photos, *rest: calls.append(len(photos)) or caption_each(photos, *rest),
    )
    batch = [{"body": bytearray(render(color))} for color in ("red", "green", "blue")]
    answers(handler, [*batch, {"body": "text"}])
    assert calls == [3]


def test_describes_itself(handler: CaptionerHandler, render) -> None:
    (handler.folder / "README.md").write_text("# Card\n")
    headers: list[dict[str, Any]] = [{"describe": "True"}, {}]
    (told, reply), context = answers(handler, [{}, {"body": render()}], headers)
    assert "caption" in reply
    assert not context.status
    assert told["card"] == "# Card\n"
    assert told["model"] == ABOUT
    assert told["options"]["beam_size"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 10,
        "default": DecodingOptions().beam_size,
    }
    assert "AVIF" in told["formats"]
    assert told["limits"]["photos_a_request"] == 32
    assert json.dumps(told)


def test_metrics(handler: CaptionerHandler, render) -> None:
    batch = [{"body": render()}, {"body": b"no"}, {"body": b"no"}, {"body": render("blue")}]
    headers = [{"x-caption-beam-size": "2"}, {}, {}, {}]
    replies, context = answers(handler, batch, headers)
    metrics = context.metrics
    labels = ["1.2", "captioner", "Model"]
    assert sorted(metrics.added["captioner_requests_total"]) == [
        (2, ["invalid_image", *labels]),
        (2, ["ok", *labels]),
    ]
    assert metrics.values("captioner_batches_total") == [1]
    assert metrics.values("captioner_photos_total") == [4]
    assert sorted(metrics.values("captioner_beams")) == [2, *[DecodingOptions().beam_size] * 3]
    words = [len(reply["caption"].split()) for reply in (replies[0], replies[3])]
    assert metrics.values("captioner_words_total") == [sum(words)]
    assert sorted(metrics.added["captioner_captions_total"]) == sorted(
        (number, [str(length), *labels]) for length, number in Counter(words).items()
    )
    for part in ("decoding", "encoding", "search", "batch"):
        (seconds,) = metrics.values(f"captioner_{part}_seconds")
        assert seconds > 0


def test_a_server_with_other_metrics_answers_all_the_same(
    handler: CaptionerHandler, render
) -> None:
    handler.metrics = Metrics(SimpleNamespace(cache={}), "captioner", "1.2")
    (reply,) = handler.handle([{"body": render()}], FakeContext())
    assert json.loads(reply)["caption"]


def test_a_broken_gpu_ends_the_worker(
    handler: CaptionerHandler, render, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ended(BaseException):
        pass

    def end(status: int) -> None:
        assert status == 1
        raise Ended

    def fail(error: Exception) -> None:
        def caption_each(*_: object) -> None:
            raise error

        monkeypatch.setattr(handler.captioner, "caption_each", caption_each)

    monkeypatch.setattr("os._exit", end)
    monkeypatch.setattr("logging.shutdown", lambda: None)
    fail(RuntimeError("CUDA error: an illegal memory access was encountered"))
    with pytest.raises(Ended):
        answers(handler, [{"body": render()}])
    fail(torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(torch.OutOfMemoryError):
        answers(handler, [{"body": render()}])
    assert not _is_fatal(RuntimeError("shapes do not match"))


def test_what_was_captioned_is_copied_for_a_deploy(handler: CaptionerHandler, render) -> None:
    """Of every kind of request, with its options; what was refused is not."""
    spool = handler.folder / FOLDER
    spool.mkdir()
    (spool / SETTINGS).write_bytes(Settings("1.2", share=1, until=math.inf).to_bytes())
    photos = [render(color, size=(60, 40 + i)) for i, color in enumerate(["red", "green", "blue"])]
    red, green = (base64.b64encode(photo).decode() for photo in photos[:2])
    kserve = [{"instances": [{"b64": red}, {"b64": b64}]} for b64 in (green, "aGVsbG8=")]
    batch = [{"body": photos[2]}, {"body": b"no"}, {}, *({"body": each} for each in kserve)]
    headers: list[dict[str, Any]] = [{"X-Caption-Beam-Size": "1"}, {}, {"describe": "True"}, {}, {}]
    batch.append({"body": photos[2]})
    replies, context = answers(handler, batch, [*headers, {"explain": "True"}])
    assert context.status == {1: 400, 4: 400}
    copies = [Copy.read(path) for path in spool.glob(f"*{ENDING}")]
    predictions = replies[3]["predictions"]
    wanted = [
        (photos[2], {"beam_size": 1}, replies[0]["caption"]),
        (photos[0], {}, predictions[0]["caption"]),
        (photos[1], {}, predictions[1]["caption"]),
        (photos[2], {}, replies[5]["caption"]),
    ]
    found = [(copy.photo, copy.options, copy.caption) for copy in copies]
    assert sorted(found, key=repr) == sorted(wanted, key=repr)
    assert {copy.batch for copy in copies} == {7}
    (seconds,) = context.metrics.values("captioner_batch_seconds")
    assert {copy.milliseconds for copy in copies} == {round(1e3 * seconds, 3)}


def test_a_copy_that_fails_costs_no_answer(
    handler: CaptionerHandler, render, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    tried = []
    monkeypatch.setattr(Copy, "write", lambda *_: tried.append(1) or full())
    (handler.folder / FOLDER).mkdir()
    settings = Settings("1.2", share=1, until=math.inf)
    (handler.folder / FOLDER / SETTINGS).write_bytes(settings.to_bytes())
    replies, context = answers(handler, [{"body": render()}] * 2)
    assert all(reply["caption"] for reply in replies)
    assert not context.status
    assert tried


def test_workers_share_the_cores(
    handler: CaptionerHandler, render, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their part of them changes with their number, from one batch to the next."""
    taken = [torch.get_num_threads()]
    monkeypatch.setattr(torch, "set_num_threads", taken.append)
    monkeypatch.setattr(torch, "get_num_threads", lambda: taken[-1])
    handler.workers, handler.cores = Workers(handler.folder), 8
    for workers, threads in [(1, 8), (3, 2), (16, 1), (16, 1)]:
        monkeypatch.setattr(Workers, "count", lambda _self, workers=workers: workers)
        answers(handler, [{"body": render()}])
        assert taken[-1] == threads
    assert taken[1:] == [8, 2, 1]


def test_refuses_code_from_outside_its_archive(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="not its archive's code"):
        CaptionerHandler().initialize(FakeContext(folder=tmp_path))
