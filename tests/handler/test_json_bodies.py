from __future__ import annotations

import tracemalloc

import pytest

from handler.caption_request import CaptionRequest, WireFormat
from handler.errors import RequestError
from handler.options import RequestOptions
from handler.parsing import parse
from tests.handler.json_cases import (
    B64,
    DEFAULTS,
    JSON,
    OTHER,
    OTHER_B64,
    PHOTO,
    TENSOR,
    json_request,
)


@pytest.mark.parametrize(
    "body",
    [
        {"image": {"b64": B64}, "beam_size": 1},
        {"b64": B64, "beam_size": 1},
        {"instances": [{"b64": B64}], "beam_size": 1},
        {"instances": [{"b64": B64, "beam_size": 1}]},
        {"inputs": [], "beam_size": 1},
        {"inputs": [{"datatype": "BYTES", "data": [B64], "beam_size": 1}]},
    ],
)
def test_an_option_beside_the_photo_is_refused(body: object) -> None:
    with pytest.raises(RequestError, match=r"beam_size stands beside the photo .* in options"):
        json_request(body)


def test_options_may_be_called_parameters() -> None:
    wanted = [RequestOptions(3)]
    for name in ("options", "parameters"):
        for body in (
            {"b64": B64},
            {"instances": [{"b64": B64}]},
            {"instances": [{"data": B64}]},  # as TorchServe's own examples have it
            {"inputs": [TENSOR]},
        ):
            found = json_request(body | {name: {"beam_size": 3}})
            assert (found.photos, found.options) == ([PHOTO], wanted)
    named = TENSOR | {"parameters": {"beam_size": 3, "content_type": "base64"}}
    assert json_request({"inputs": [named]}).options == wanted


def test_kserve_v1() -> None:
    body = {
        "instances": [{"b64": B64}, {"image": {"b64": OTHER_B64}, "options": {"beam_size": 1}}],
        "options": {"beam_size": 4, "max_length": 5},
    }
    options = [RequestOptions(4, max_length=5), RequestOptions(1, max_length=5)]
    assert json_request(body) == CaptionRequest([PHOTO, OTHER], options, WireFormat.KSERVE_V1)


def test_kserve_v2() -> None:
    tensor = {"name": "image", "shape": [1], "datatype": "BYTES"}
    body = {
        "id": "seven",
        "inputs": [tensor | {"data": [B64]}, tensor | {"data": [OTHER_B64]}],
        "parameters": {"beam_size": 4},
    }
    options = [RequestOptions(4)] * 2
    assert json_request(body) == CaptionRequest(
        [PHOTO, OTHER], options, WireFormat.KSERVE_V2, "seven"
    )


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ([], "the body must be a JSON object"),
        (3, "the body must be a JSON object"),
        (None, "the body must be a JSON object"),
        ({}, "holds no photo"),
        ({"image": "http://example.com/a.jpg"}, "holds no photo"),
        ({"image": {"url": "http://example.com/a.jpg"}}, "holds no photo"),
        ({"image": {"b64": 7}}, "must be a text"),
        ({"image": {"b64": "a b c"}}, "not base64"),
        ({"image": {"b64": "é"}}, "not base64"),
        ({"image": {"b64": B64}, "options": []}, "options must be a JSON object"),
        ({"instances": []}, "instances must be a list of 1 to 32"),
        ({"instances": [{"b64": B64}] * 33}, "instances must be a list of 1 to 32"),
        ({"instances": {"b64": B64}}, "instances must be a list"),
        ({"instances": [{"b64": B64}, 5]}, "instance 1 must be a JSON object"),
        ({"inputs": [{"datatype": "FP32", "data": [1.0]}]}, "'FP32'; it must be 'BYTES'"),
        ({"inputs": [{"datatype": "BYTES"}]}, "data must be a list"),
        ({"inputs": [{"datatype": "BYTES", "data": [B64, 5]}]}, "image 1 must be a text"),
        ({"inputs": [{"datatype": "BYTES", "data": [B64] * 20}] * 2}, "list of 1 to 32"),
        ({"inputs": ["x"]}, "an input must be a JSON object"),
    ],
)
def test_json_without_photos_is_refused(body: object, message: str) -> None:
    with pytest.raises(RequestError, match=message) as raised:
        json_request(body)
    assert (raised.value.status, raised.value.code) == (400, "invalid_request")


@pytest.mark.parametrize("body", [b"[],", b'{"a":1},', b"1,", b'"b64",'])
def test_json_of_too_many_values_is_refused_unparsed(body: bytes) -> None:
    sent = b'{"instances": [' + body * 1_000_000 + b"1]}"
    tracemalloc.start()
    with pytest.raises(RequestError, match="more than 10,000 values"):
        parse({"body": sent}, JSON, DEFAULTS)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20


@pytest.mark.parametrize("given", [["a"], {"a": 1}, True, 1.5, "x" * 1001, "é" * 1001])
def test_an_id_must_be_a_short_text(given: object) -> None:
    with pytest.raises(RequestError, match=r"^id (is|has) .*"):
        json_request({"id": given, "inputs": [TENSOR]})


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b"[" * 5_000,
        b"",
        b"NaN{",
        b'{"a": NaN}',
        b"-Infinity",
    ],
)
def test_a_body_that_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(RequestError, match="the body is no JSON"):
        parse({"body": body}, JSON, DEFAULTS)
