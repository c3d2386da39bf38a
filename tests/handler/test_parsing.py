from __future__ import annotations

import base64
import json
import tracemalloc
from typing import Any
from urllib.parse import unquote_plus

import pytest

from handler import caption_request
from handler.caption_request import CaptionRequest
from handler.errors import RequestError
from handler.options import RequestOptions
from handler.parsing import parse
from tests.handler.json_cases import (
    B64,
    BODIES,
    DEFAULTS,
    JSON,
    PHOTO,
    TENSOR,
    json_request,
)
from tests.hostile import valid_photos


@pytest.mark.parametrize(
    "headers",
    [{}, {"content-type": "image/png"}, {"CONTENT-TYPE": "application/octet-stream"}],
)
def test_a_raw_photo(headers: dict[str, str]) -> None:
    field_entry = {"body": {"content-type": "image/jpeg"}}  # as TorchServe adds them
    found = parse({"body": bytearray(PHOTO)}, headers | field_entry, DEFAULTS)
    assert found == CaptionRequest([PHOTO], [DEFAULTS])


def test_options_by_header_form_or_json() -> None:
    headers = {"X-Caption-Beam-Size": "7", "x-caption-max-length": "9"}
    wanted = RequestOptions(beam_size=2, max_length=9)
    assert parse({"body": PHOTO}, headers, DEFAULTS).options[0].beam_size == 7
    form = parse({"data": PHOTO, "beam_size": bytearray(b"2")}, headers, DEFAULTS)
    assert form == CaptionRequest([PHOTO], [wanted])
    body = {"image": {"b64": B64}, "options": {"beam_size": 2}}
    assert json_request(body, headers) == CaptionRequest([PHOTO], [wanted])


def test_a_requested_number_of_captions_is_never_lowered() -> None:
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


def test_a_form_whose_photo_has_another_name() -> None:
    found = parse({"picture": PHOTO, "beam_size": b"2"}, {}, DEFAULTS)
    assert found == CaptionRequest([PHOTO], [RequestOptions(beam_size=2)])


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("start", [b"", b" \r\n\t", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("kind", ["", "application/octet-stream", "binary/octet-stream"])
def test_json_without_its_content_type(body: object, start: bytes, kind: str) -> None:
    headers = {"Content-Type": kind} if kind else {}
    sent = bytearray(start + json.dumps(body).encode())
    assert parse({"body": sent}, headers, DEFAULTS) == json_request(body)


@pytest.mark.parametrize("name", valid_photos())
def test_no_photo_is_mistaken_for_json(name: str) -> None:
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
def test_json_sent_as_a_form_by_curl(body: dict[str, Any], photo: bytes) -> None:
    b64 = base64.b64encode(photo).decode()
    assert "+" in b64
    text = json.dumps(body).replace(B64, b64)
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    found = parse(as_a_form(text), headers, DEFAULTS)
    assert found == json_request(json.loads(text))
    assert found.photos[0] == photo


def test_an_urlencoded_form_that_is_no_json_is_refused() -> None:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    fields: dict[str, bytes]
    for fields in ({"a": b"1", "b": b"2"}, {"photo": b"text"}, {}):  # none: TorchServe saw no "="
        with pytest.raises(RequestError, match="-H 'Content-Type: application/json'") as raised:
            parse(fields, headers, DEFAULTS)
        assert raised.value.status == 415


def test_a_part_of_a_form_may_be_json() -> None:
    """TorchServe reads it beforehand, unless its configuration forbids that."""
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


@pytest.mark.parametrize("kind", ["text/plain", "text/html", "application/xml", "video/mp4"])
def test_other_media_types_are_refused(kind: str) -> None:
    for body in (PHOTO, "text that TorchServe has read"):
        with pytest.raises(RequestError, match=f"type is {kind}") as raised:
            parse({"body": body}, {"Content-Type": kind}, DEFAULTS)
        assert (raised.value.status, raised.value.code) == (415, "unsupported_media_type")


def test_forms_without_a_photo_are_refused() -> None:
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


def test_photos_that_are_too_large_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caption_request, "MAX_PHOTO_BYTES", 2**20)
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
