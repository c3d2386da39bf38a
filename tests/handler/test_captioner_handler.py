from __future__ import annotations

import base64
import errno
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from handler.captioner_handler import CaptionerHandler
from handler.process import is_fatal
from handler.shadow import ENDING, FOLDER, SETTINGS, Copy, Settings
from handler.workers import Workers
from model.inference.lanes import Lanes
from tests.handler.fakes import ABOUT, FakeContext, answers


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

    wanted = [captions[0] for captions in handler.service.captioner.caption([red, blue])]
    for i, caption in ((0, wanted[0]), (2, wanted[1]), (7, wanted[0])):
        assert replies[i] == {
            "caption": caption.text,
            "confidence": pytest.approx(caption.confidence),
            "log_prob": pytest.approx(caption.log_prob),
            "model": ABOUT,
            "request_id": f"request-{i}",
        }


def test_headers_of_a_client_give_neither_description_nor_explanation(
    handler: CaptionerHandler, render
) -> None:
    """TorchServe adds the header ``explain`` to predictions, after the headers of the client."""
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


def test_a_batch_is_captioned_in_one_call(
    handler: CaptionerHandler, render, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    caption_each = handler.service.captioner.caption_each
    monkeypatch.setattr(
        handler.service.captioner,
        "caption_each",
        lambda photos, *rest: calls.append(len(photos)) or caption_each(photos, *rest),
    )
    batch = [{"body": bytearray(render(color))} for color in ("red", "green", "blue")]
    answers(handler, [*batch, {"body": "text"}])
    assert calls == [3]


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

        monkeypatch.setattr(handler.service.captioner, "caption_each", caption_each)

    monkeypatch.setattr("os._exit", end)
    monkeypatch.setattr("logging.shutdown", lambda: None)
    fail(RuntimeError("CUDA error: an illegal memory access was encountered"))
    with pytest.raises(Ended):
        answers(handler, [{"body": render()}])
    fail(torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(torch.OutOfMemoryError):
        answers(handler, [{"body": render()}])
    assert not is_fatal(RuntimeError("shapes do not match"))


def test_answered_photos_are_copied_for_a_deploy(handler: CaptionerHandler, render) -> None:
    """Photos of every kind of request are copied, but not those of refused requests."""
    spool = handler.service.folder / FOLDER
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


def test_an_error_of_copying_costs_no_answer(
    handler: CaptionerHandler, render, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    tried = []
    monkeypatch.setattr(Copy, "write", lambda *_: tried.append(1) or full())
    (handler.service.folder / FOLDER).mkdir()
    settings = Settings("1.2", share=1, until=math.inf)
    (handler.service.folder / FOLDER / SETTINGS).write_bytes(settings.to_bytes())
    replies, context = answers(handler, [{"body": render()}] * 2)
    assert all(reply["caption"] for reply in replies)
    assert not context.status
    assert tried


def test_workers_share_the_cores(
    handler: CaptionerHandler, render, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker's share changes with the number of workers, from one batch to the next."""
    # The two lanes set numbers of their own.
    monkeypatch.setattr(Lanes, "run", lambda _self, function, *lists: [function(*lists, None)])
    taken = [torch.get_num_threads()]
    monkeypatch.setattr(torch, "set_num_threads", taken.append)
    monkeypatch.setattr(torch, "get_num_threads", lambda: taken[-1])
    handler.workers, handler.cores = Workers(handler.service.folder), 8
    for workers, threads in [(1, 8), (3, 2), (16, 1), (16, 1)]:
        monkeypatch.setattr(Workers, "count", lambda _self, workers=workers: workers)
        answers(handler, [{"body": render()}])
        assert taken[-1] == threads
    assert taken[1:] == [8, 2, 1]


def test_code_from_outside_the_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="not its archive's code"):
        CaptionerHandler().initialize(FakeContext(folder=tmp_path))
