from __future__ import annotations

import base64
import json
import tracemalloc
from typing import Any
from urllib.parse import unquote_plus

import pytest

from handler import parsing
from handler.errors import RequestError
from handler.options import RequestOptions
from handler.parsing import Form, Request, parse
from tests.hostile import valid_photos

PHOTO, OTHER = b"\xff\xd8 one photo", b"another"
B64, OTHER_B64 = (base64.b64encode(photo).decode() for photo in (PHOTO, OTHER))
DEFAULTS = RequestOptions()
JSON = {"Content-Type": "application/json; charset=utf-8"}
TENSOR = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [B64]}


def json_request(body: object, headers: dict[str, Any] | None = None) -> Request:
    """As it arrives, and as TorchServe reads it beforehand unless told not to: both are known."""
    read = parse({"body": body}, JSON | (headers or {}), DEFAULTS)
    raw = parse({"body": bytearray(json.dumps(body).encode())}, JSON | (headers or {}), DEFAULTS)
    assert read == raw
    return raw


@pytest.mark.parametrize(
    "headers",
    [{}, {"content-type": "image/png"}, {"CONTENT-TYPE": "application/octet-stream"}],
)
def test_a_raw_photo(headers: dict[str, str]) -> None:
    field_entry = {"body": {"content-type": "image/jpeg"}}  # as TorchServe adds them
    found = parse({"body": bytearray(PHOTO)}, headers | field_entry, DEFAULTS)
    assert found == Request([PHOTO], [DEFAULTS])


def test_options_by_header_form_or_json() -> None:
    headers = {"X-Caption-Beam-Size": "7", "x-caption-max-length": "9"}
    wanted = RequestOptions(beam_size=2, max_length=9)
    assert parse({"body": PHOTO}, headers, DEFAULTS).options[0].beam_size == 7
    form = parse({"data": PHOTO, "beam_size": bytearray(b"2")}, headers, DEFAULTS)
    assert form == Request([PHOTO], [wanted])
    body = {"image": {"b64": B64}, "options": {"beam_size": 2}}
    assert json_request(body, headers) == Request([PHOTO], [wanted])


def test_a_number_of_captions_is_kept_or_refused_wherever_it_was_asked_for() -> None:
    headers = {"X-Caption-Num-Captions": "3"}
    narrow: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"data": PHOTO, "beam_size": b"1"}, {}),
        ({"body": {"image": {"b64": B64}, "options": {"beam_size": 1}}}, JSON),
        ({"body": {"instances": [{"b64": B64}], "options": {"beam_size": 1}}}, JSON),
        ({"body": {"instances": [{"b64": B64, "options": {"beam_size": 1}}]}}, JSON),
        ({"body": {"inputs": [TENSOR], "parameters": {"beam_size": 1}}}, JSON),
        ({"body": {"inputs": [TENSOR | {"parameters": {"beam_size": 1}}]}}, JSON),
    ]
    for fields, more in narrow:
        with pytest.raises(RequestError, match=r"num_captions is 3; .*beam_size, 1"):
            parse(fields, headers | more, DEFAULTS)
        (options,) = parse(fields, more, DEFAULTS).options
        assert (options.beam_size, options.num_captions) == (1, 1)
    body = {
        "instances": [{"b64": B64, "options": {"beam_size": 2}}],
        "options": {"num_captions": 2},
    }
    assert json_request(body).options[0].num_captions == 2


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
def test_an_option_in_the_wrong_place_is_not_overlooked(body: object) -> None:
    with pytest.raises(RequestError, match=r"beam_size stands beside the photo .* in options"):
        json_request(body)


def test_options_and_parameters_are_the_same() -> None:
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


def test_a_form_whose_photo_has_another_name() -> None:
    found = parse({"picture": PHOTO, "beam_size": b"2"}, {}, DEFAULTS)
    assert found == Request([PHOTO], [RequestOptions(beam_size=2)])


def test_kserve_v1() -> None:
    body = {
        "instances": [{"b64": B64}, {"image": {"b64": OTHER_B64}, "options": {"beam_size": 1}}],
        "options": {"beam_size": 4, "max_length": 5},
    }
    options = [RequestOptions(4, max_length=5), RequestOptions(1, max_length=5)]
    assert json_request(body) == Request([PHOTO, OTHER], options, Form.KSERVE_V1)


def test_kserve_v2() -> None:
    tensor = {"name": "image", "shape": [1], "datatype": "BYTES"}
    body = {
        "id": "seven",
        "inputs": [tensor | {"data": [B64]}, tensor | {"data": [OTHER_B64]}],
        "parameters": {"beam_size": 4},
    }
    options = [RequestOptions(4)] * 2
    assert json_request(body) == Request([PHOTO, OTHER], options, Form.KSERVE_V2, "seven")


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
def test_json_that_is_no_request(body: object, message: str) -> None:
    with pytest.raises(RequestError, match=message) as raised:
        json_request(body)
    assert (raised.value.status, raised.value.code) == (400, "invalid_request")


BODIES = [
    {"image": {"b64": B64}, "options": {"beam_size": 2}},
    {"instances": [{"b64": B64}, {"b64": OTHER_B64}]},
    {"id": "seven", "inputs": [TENSOR]},
]


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("start", [b"", b" \r\n\t", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("kind", ["", "application/octet-stream", "binary/octet-stream"])
def test_json_that_does_not_say_so(body: object, start: bytes, kind: str) -> None:
    headers = {"Content-Type": kind} if kind else {}
    sent = bytearray(start + json.dumps(body).encode())
    assert parse({"body": sent}, headers, DEFAULTS) == json_request(body)


@pytest.mark.parametrize("name", valid_photos())
def test_no_photo_is_taken_for_json(name: str) -> None:
    photo = valid_photos()[name]
    assert parse({"body": photo}, {}, DEFAULTS).photos == [photo]


def as_a_form(text: str) -> dict[str, bytes]:
    """Take a text apart as TorchServe does whatever is sent without a type by ``curl -d``."""
    return {
        unquote_plus(name).strip(): unquote_plus(value).encode()
        for name, _, value in (pair.partition("=") for pair in text.split("&"))
    }


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("photo", [bytes([251, 255, 190] * 40), b"\xfb" * 100, b"\xfb" * 101])
def test_json_sent_as_a_form(body: dict[str, Any], photo: bytes) -> None:
    b64 = base64.b64encode(photo).decode()
    assert "+" in b64
    text = json.dumps(body).replace(B64, b64)
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    found = parse(as_a_form(text), headers, DEFAULTS)
    assert found == json_request(json.loads(text))
    assert found.photos[0] == photo


def test_a_form_that_is_no_json() -> None:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    fields: dict[str, bytes]
    for fields in ({"a": b"1", "b": b"2"}, {"photo": b"text"}, {}):  # none: TorchServe saw no "="
        with pytest.raises(RequestError, match="-H 'Content-Type: application/json'") as raised:
            parse(fields, headers, DEFAULTS)
        assert raised.value.status == 415


def test_a_part_of_a_form_that_is_json() -> None:
    """TorchServe reads it beforehand, unless told not to."""
    found = parse({"data": PHOTO, "beam_size": 3, "consensus": False}, {}, DEFAULTS)
    assert found.options == [RequestOptions(3, consensus=False)]
    for value in (50_000_000, 1e400, [1, 2], {"beam_size": 1}, True, None):
        with pytest.raises(RequestError, match=r"beam_size is .*; it must be a whole number"):
            parse({"data": PHOTO, "beam_size": value}, {}, DEFAULTS)


def test_a_number_in_a_form_takes_no_memory() -> None:
    tracemalloc.start()
    with pytest.raises(RequestError):
        parse({"data": PHOTO, "beam_size": 50_000_000}, {}, DEFAULTS)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20


@pytest.mark.parametrize("body", [b"[],", b'{"a":1},', b"1,", b'"b64",'])
def test_json_of_countless_values_is_not_taken_apart(body: bytes) -> None:
    sent = b'{"instances": [' + body * 1_000_000 + b"1]}"
    tracemalloc.start()
    with pytest.raises(RequestError, match="more than 10,000 values"):
        parse({"body": sent}, JSON, DEFAULTS)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20


@pytest.mark.parametrize("given", [["a"], {"a": 1}, True, 1.5, "x" * 1001, "é" * 1001])
def test_an_id_that_is_none(given: object) -> None:
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
def test_what_is_no_json(body: bytes) -> None:
    with pytest.raises(RequestError, match="the body is no JSON"):
        parse({"body": body}, JSON, DEFAULTS)


@pytest.mark.parametrize("kind", ["text/plain", "text/html", "application/xml", "video/mp4"])
def test_other_media_types(kind: str) -> None:
    for body in (PHOTO, "text that TorchServe has read"):
        with pytest.raises(RequestError, match=f"type is {kind}") as raised:
            parse({"body": body}, {"Content-Type": kind}, DEFAULTS)
        assert (raised.value.status, raised.value.code) == (415, "unsupported_media_type")


def test_forms_that_hold_no_photo() -> None:
    with pytest.raises(RequestError, match="holds no photo"):
        parse({"beam_size": b"3", "max_length": b"3"}, {}, DEFAULTS)
    with pytest.raises(RequestError, match="holds no photo"):
        parse({"one": PHOTO, "two": PHOTO}, {}, DEFAULTS)
    with pytest.raises(RequestError, match="there is no option 'beams'"):
        parse({"data": PHOTO, "beams": b"3"}, {}, DEFAULTS)
    with pytest.raises(RequestError, match="'beam_size' is not text"):
        parse({"data": PHOTO, "beam_size": b"\xff\xfe"}, {}, DEFAULTS)
    with pytest.raises(RequestError, match="'data' is text"):
        parse({"data": "text"}, {}, DEFAULTS)
    with pytest.raises(RequestError, match="is empty"):
        parse({}, {}, DEFAULTS)


def test_photos_that_are_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsing, "MAX_PHOTO_BYTES", 2**20)
    for fields, headers in (
        ({"body": bytes(2**20 + 1)}, {}),
        ({"data": bytes(2**20 + 1)}, {}),
        ({"body": {"image": {"b64": "A" * 2 * 2**20}}}, JSON),
        ({"body": {"image": {"b64": base64.b64encode(bytes(2**20 + 1)).decode()}}}, JSON),
    ):
        with pytest.raises(RequestError, match="over 1 MiB") as raised:
            parse(fields, headers, DEFAULTS)
        assert (raised.value.status, raised.value.code) == (413, "too_large")
    assert parse({"body": bytes(2**20)}, {}, DEFAULTS).photos == [bytes(2**20)]
