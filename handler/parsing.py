"""TorchServe's form of a request -> photos and options. No tensor, no photo is looked at here."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any, NoReturn

from handler.errors import RequestError, quoted
from handler.options import RequestOptions, described, from_headers

MAX_PHOTOS = 32  # in one request
MAX_PHOTO_BYTES = 32 * 2**20  # of one photo
MAX_JSON_VALUES = 10_000  # in one body; that of 32 photos has some hundreds
MAX_ID = 1_000  # characters; a reply that is too large for TorchServe ends the worker
RAW_TYPES = ("", "application/octet-stream", "binary/octet-stream")  # besides image/*
JSON_TYPE, URLENCODED = "application/json", "application/x-www-form-urlencoded"
# A photo's base64 in a JSON text; an id is shorter.
_BASE64 = re.compile(r'"[A-Za-z0-9+/ ]{40,}={0,2}"')

# Gives a photo's options from what each further place in the request asks for.
Options = Callable[..., RequestOptions]


class Form(Enum):
    """Who the reply is for."""

    PLAIN = "plain"
    KSERVE_V1 = "kserve-v1"
    KSERVE_V2 = "kserve-v2"


@dataclass(frozen=True)
class Request:
    """What one caller sent."""

    photos: list[bytes]
    options: list[RequestOptions]  # of each photo
    form: Form = Form.PLAIN
    id: str | None = None  # as KServe's second protocol has one
    explain: bool = False  # where each word looked is asked for
    picture: bool = False  # that as a picture
    cost: float = 0.0  # seconds of one core that decoding its photos takes, estimated


def parse(
    fields: Mapping[str, Any], headers: Mapping[str, Any], defaults: RequestOptions
) -> Request:
    """Read one request.

    Parameters
    ----------
    fields
        The body as ``body``, or the fields of a form; bytes, text, or JSON that was read already.
    headers
        Of the request, in the caller's spelling. TorchServe adds one for each field: not a text.

    Raises
    ------
    RequestError
        It holds no photo, or asks for what there is not.
    """
    texts = {name: value for name, value in headers.items() if isinstance(value, str)}
    options: Options = partial(defaults.changed, from_headers(texts))
    media_type = _media_type(texts)
    if set(fields) == {"body"}:
        return _from_body(fields["body"], media_type, options)
    if media_type == URLENCODED:
        return _from_urlencoded(fields, options)
    if not fields:
        raise RequestError.request("the request is empty: send a photo, with curl -T photo.jpg")
    return _from_form(fields, options)


def _media_type(headers: Mapping[str, str]) -> str:
    given = next((value for name, value in headers.items() if name.lower() == "content-type"), "")
    return given.partition(";")[0].strip().lower()


def _from_body(body: Any, media_type: str, options: Options) -> Request:
    raw = isinstance(body, bytes | bytearray)
    if media_type == JSON_TYPE or not (raw or isinstance(body, str)):
        return _from_json(body, options)
    if raw and media_type in RAW_TYPES and _is_json(bytes(body[:99])):
        return _from_json(body, options)
    if not raw or not (media_type.startswith("image/") or media_type in RAW_TYPES):
        raise RequestError.media_type(
            f"the request's type is {media_type or 'text'}; send a photo as image/* or"
            f" application/octet-stream, a form, or {JSON_TYPE}"
        )
    return Request([_photo(bytes(body), "the photo")], [options()])


def _is_json(start: bytes) -> bool:
    """Whether bytes without a telling type are JSON: no format of photos begins like that."""
    return start.removeprefix(b"\xef\xbb\xbf").lstrip().startswith((b"{", b"["))


def _from_form(fields: Mapping[str, Any], options: Options) -> Request:
    """Read a form: the photo is the field ``data``, or else the only one that is no option."""
    known = described()
    others = [name for name in fields if name not in known]
    name = "data" if "data" in fields else others[0] if len(others) == 1 else None
    if name is None:
        raise RequestError.request(
            "the form holds no photo: send it as the field 'data', with curl -F data=@photo.jpg"
        )
    asked = {key: _text(key, value) for key, value in fields.items() if key != name}
    photo = fields[name]
    if not isinstance(photo, bytes | bytearray):
        raise RequestError.media_type(f"the field {quoted(name)} is text, not the file of a photo")
    return Request([_photo(bytes(photo), f"the field {quoted(name)}")], [options(asked)])


def _from_urlencoded(fields: Mapping[str, Any], options: Options) -> Request:
    """Read the JSON that ``curl -d`` sends when it is given no type: it says that it sends a form.

    TorchServe has taken it apart at ``=`` and ``&``, and every ``+`` has become a space. Of a body
    without ``=`` and ``&``, such as base64 that needs no padding, it hands on nothing at all.
    """
    pairs = ((name, _text(name, value)) for name, value in fields.items())
    text = "&".join(f"{name}={value}" if value else name for name, value in pairs)
    if not _is_json(text[:99].encode()):
        raise RequestError.media_type(
            f"the request says that it is {URLENCODED}, as curl -d and --data-binary do; send a"
            f" photo with curl -T photo.jpg, and JSON with -H 'Content-Type: {JSON_TYPE}'"
        )
    return _from_json(_BASE64.sub(lambda found: found[0].replace(" ", "+"), text), options)


def _from_json(body: Any, options: Options) -> Request:
    if isinstance(body, bytes | bytearray | str):
        body = _read_json(body)
    if isinstance(body, dict) and "instances" in body:
        return _from_kserve_v1(body, options)
    if isinstance(body, dict) and "inputs" in body:
        return _from_kserve_v2(body, options)
    photo, asked = _photo_and_options(body, "the body")
    return Request([photo], [options(*asked)])


def _read_json(body: bytes | bytearray | str) -> Any:
    # A few bytes a value become fifty and more: what cannot be a request is not taken apart.
    raw = body.encode() if isinstance(body, str) else body
    if sum(raw.count(mark) for mark in (b"[", b"{", b",", b":")) > MAX_JSON_VALUES:
        raise RequestError.request(
            f"the body is no JSON of photos: it has more than {MAX_JSON_VALUES:,} values"
        )
    try:
        return json.loads(body, parse_constant=_no_json)
    except (ValueError, RecursionError) as error:
        raise RequestError.request(f"the body is no JSON: {error}") from error


def _no_json(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def _from_kserve_v1(body: dict[str, Any], options: Options) -> Request:
    """https://kserve.github.io/website/docs/concepts/architecture/data-plane/v1-protocol"""
    common = _asked(body, "the body")
    photos, chosen = [], []
    for place, instance in enumerate(_several(body["instances"], "instances")):
        photo, own = _photo_and_options(instance, f"instance {place}")
        photos.append(photo)
        chosen.append(options(*common, *own))
    return Request(photos, chosen, Form.KSERVE_V1)


def _from_kserve_v2(body: dict[str, Any], options: Options) -> Request:
    """https://github.com/kserve/open-inference-protocol, with the photos in base64"""
    common = _asked(body, "the body")
    photos: list[bytes] = []
    chosen: list[RequestOptions] = []
    for place, tensor in enumerate(_several(body["inputs"], "inputs")):
        tensor = _mapping(tensor, "an input")
        if tensor.get("datatype") != "BYTES":
            raise RequestError.request(
                f"an input has the datatype {quoted(tensor.get('datatype'))}; it must be 'BYTES',"
                " photos in base64"
            )
        # Clients say there, too, how they encode tensors: only what is an option here counts.
        asked = [
            {name: value for name, value in each.items() if name in described()}
            for each in _asked(tensor, f"input {place}")
        ]
        own = options(*common, *asked)
        for data in _several(tensor.get("data"), "data"):
            photos.append(_decoded(data, f"image {len(photos)}"))
            chosen.append(own)
    _several(photos, "data")  # of all inputs together
    return Request(photos, chosen, Form.KSERVE_V2, _id(body.get("id")))


def _id(given: Any) -> str | None:
    if given is not None and type(given) not in (str, int):
        raise RequestError.request(f"id is {quoted(given)}; it must be a text")
    if len(text := "" if given is None else str(given)) > MAX_ID:
        raise RequestError.request(f"id has {len(text)} characters; at most {MAX_ID} are accepted")
    return text or None


def _photo_and_options(body: Any, what: str) -> tuple[bytes, list[dict[str, Any]]]:
    """Read ``{"image": {"b64": ...}, "options": ...}``, ``{"b64": ...}`` or ``{"data": ...}``.

    The last is how TorchServe's own examples of KServe send bytes.
    """
    body = _mapping(body, what)
    image = body.get("image")
    for name in ("b64", "data"):
        if image is None and name in body:
            image = {"b64": body[name]}
    if not isinstance(image, dict) or "b64" not in image:
        raise RequestError.request(
            f'{what} holds no photo: send {{"image": {{"b64": "..."}}}}, the file in base64'
        )
    return _decoded(image["b64"], what), _asked(body, what)


def _asked(body: dict[str, Any], what: str) -> list[dict[str, Any]]:
    """Return what a JSON object asks for, in ``options`` or, as KServe calls them, ``parameters``.

    Raises
    ------
    RequestError
        An option stands where it would be overlooked.
    """
    for name in described():
        if name in body:
            raise RequestError.option(
                f"{name} stands beside the photo in {what}; put it in options"
            )
    return [_mapping(body[name], name) for name in ("parameters", "options") if name in body]


def _decoded(data: Any, what: str) -> bytes:
    if not isinstance(data, str):
        raise RequestError.request(f"the photo of {what} must be a text, the file in base64")
    if len(data) > MAX_PHOTO_BYTES * 4 // 3 + 4:
        raise _too_large(what)
    try:
        return _photo(base64.b64decode(data, validate=True), what)
    except (binascii.Error, ValueError) as error:
        if isinstance(error, RequestError):
            raise
        raise RequestError.request(f"the photo of {what} is not base64: {error}") from error


def _photo(photo: bytes, what: str) -> bytes:
    if len(photo) > MAX_PHOTO_BYTES:
        raise _too_large(what)
    return photo


def _too_large(what: str) -> RequestError:
    return RequestError.too_large(
        f"{what} is over {MAX_PHOTO_BYTES // 2**20} MiB; send a smaller photo"
    )


def _mapping(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RequestError.request(f"{what} must be a JSON object")
    return value


def _several(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_PHOTOS:
        raise RequestError.request(f"{what} must be a list of 1 to {MAX_PHOTOS}")
    return value


def _text(name: str, value: Any) -> Any:
    """Return a field's value as a text; a part of type JSON may be read already and stays so."""
    try:
        return value.decode() if isinstance(value, bytes | bytearray) else value
    except UnicodeDecodeError as error:
        raise RequestError.option(f"{quoted(name)} is not text") from error
