"""Replies, pictures and refusals, as a client reads them."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from captioner.client import (
    Alternative,
    Attention,
    AttentionMap,
    BadRequest,
    CaptionError,
    PhotoInfo,
    Reply,
    ServedModel,
    Token,
)
from tests.captioner.client.both import (
    CAPTIONERS_ERROR,
    FULL,
    MODEL,
    PHOTO,
    PLAIN,
    TORCHSERVES_ERROR,
    one_after_another,
)

UNEXPECTED = "did not answer as a captioner does"


@pytest.mark.parametrize("method", ["caption", "explain"])
def test_a_reply_becomes_a_record_without_fields_of_newer_servers(
    connect, scripted, method: str
) -> None:
    scripted.answer = one_after_another(
        (200, PLAIN),
        (200, FULL),
        (200, {"caption": "old", "log_prob": -1}, {"x-request-id": "8"}),
    )
    client = connect(scripted.url)
    model = ServedModel(**MODEL)
    assert getattr(client, method)(PHOTO) == Reply("a dog", 0.5, -1.5, model, "7")
    assert getattr(client, method)(PHOTO) == Reply(
        "a dog",
        0.5,
        -1.5,
        model,
        "7",
        alternatives=(Alternative("a cat", -2.5), Alternative("a cow", -3.5)),
        tokens=(Token("a", -0.5), Token("<end>", -1)),
        attention=Attention((1, 2), (AttentionMap("a", [[0.25, 0.75]]),)),
        timing_ms=FULL["timing_ms"],
        image=PhotoInfo(640, 480, "JPEG"),
    )
    assert getattr(client, method)(PHOTO) == Reply("old", None, -1, ServedModel(), "8")


def test_a_picture_is_returned_and_anything_else_is_refused(connect, scripted) -> None:
    png = b"\x89PNG as good as one"
    scripted.answer = one_after_another((200, png, {"Content-Type": "image/png"}), (200, PLAIN))
    client = connect(scripted.url)
    assert client.explanation_picture(PHOTO, beam_size=1) == png
    (asked,) = scripted.asked
    assert asked.path == "/explanations/captioner"
    assert asked.headers["accept"] == "image/png"
    assert asked.headers["x-caption-beam-size"] == "1"
    with pytest.raises(CaptionError, match=r'did not answer as a captioner does: \{"caption"'):
        client.explanation_picture(PHOTO)


@pytest.mark.parametrize(
    ("answer", "code", "message", "request_id"),
    [
        ((400, CAPTIONERS_ERROR), "invalid_image", "not an image", "9"),
        ((404, TORCHSERVES_ERROR), "ModelNotFoundException", "Model not found: x", ""),
        ((404, TORCHSERVES_ERROR, {"x-request-id": "9"}), "ModelNotFoundException", None, "9"),
        ((413, b""), "http_413", "status 413 Request Entity Too Large", ""),
        (
            (400, b"<h1>Bad\n\n  request</h1>", {"x-request-id": "9"}),
            "http_400",
            "status 400 Bad Request: <h1>Bad request</h1>",
            "9",
        ),
        ((415, ["what"]), "http_415", 'status 415 Unsupported Media Type: ["what"]', ""),
        ((422, {"error": "what"}), "http_422", None, ""),
        ((422, {"code": 422}), "http_422", None, ""),
    ],
)
@pytest.mark.parametrize("method", ["caption", "explain", "explanation_picture"])
def test_a_refusal_is_raised_without_a_retry(
    connect, scripted, method: str, answer: Any, code: str, message: str | None, request_id: str
) -> None:
    scripted.answer = lambda asked: answer
    client = connect(scripted.url)
    with pytest.raises(BadRequest) as raised:
        getattr(client, method)(PHOTO)
    error = raised.value
    assert (error.status, error.code, error.request_id) == (answer[0], code, request_id)
    if message:
        assert error.message == message
        assert str(error) == f"{message} ({answer[0]})"
    assert len(scripted.asked) == 1
    assert client.waits == []
    assert repr(pickle.loads(pickle.dumps(error))) == repr(error)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((302, b"", {"Location": "https://log.in"}), "302 Found: redirected to https://log.in"),
        ((200, b"<h1>Welcome</h1>"), f"captioner {UNEXPECTED}: <h1>Welcome</h1>"),
        ((200, b"\xff\xfe" * 10_000), UNEXPECTED),
        ((200, {"text": "a dog"}), UNEXPECTED + ': {"text": "a dog"}'),
        ((200, ["a dog"]), UNEXPECTED),
        ((200, PLAIN | {"tokens": [{"word": "a"}]}), UNEXPECTED),
        ((200, PLAIN | {"attention": {"grid": [7], "maps": []}}), UNEXPECTED),
    ],
)
def test_the_answer_of_another_server_is_refused(
    connect, scripted, answer: Any, message: str
) -> None:
    scripted.answer = lambda asked: answer
    with pytest.raises(CaptionError) as raised:
        connect(scripted.url).caption(PHOTO)
    assert type(raised.value) is CaptionError
    assert message in raised.value.message
    assert len(raised.value.message) < 400
    assert len(scripted.asked) == 1
