"""JSON bodies of requests -> photos and options: the captioner's own format and KServe's two."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable
from typing import Any, NoReturn

from handler.caption_request import (
    MAX_PHOTOS,
    CaptionRequest,
    WireFormat,
    check_photo_size,
)
from handler.errors import RequestError, quoted
from handler.options import OPTIONS, RequestOptions

MAX_JSON_VALUES = 10_000  # in one body; a body with 32 photos has some hundreds
MAX_ID = 1_000  # characters; the reply repeats the id, and TorchServe limits the size of a reply
# A photo's base64 in a JSON text, with spaces for plus signs; an id is shorter.
_BASE64 = re.compile(r'"[A-Za-z0-9+/ ]{40,}={0,2}"')

# Returns a photo's options: those of the request's headers, changed by each mapping in order.
MakeOptions = Callable[..., RequestOptions]


def looks_like_json(start: bytes) -> bool:
    """Whether bytes begin like a JSON object or array; no format of photos does."""
    return start.removeprefix(b"\xef\xbb\xbf").lstrip().startswith((b"{", b"["))


def restore_base64(text: str) -> str:
    """Return a JSON text with the plus signs of its base64, which a form's decoding made spaces."""
    return _BASE64.sub(lambda found: found[0].replace(" ", "+"), text)


def from_json(body: Any, make_options: MakeOptions) -> CaptionRequest:
    """Read a JSON body, parsed or not.

    Raises
    ------
    RequestError
        It is no JSON, holds no photo, or has an option that is unknown or out of its range.
    """
    if isinstance(body, bytes | bytearray | str):
        body = parse_json(body)
    if isinstance(body, dict) and "instances" in body:
        return _from_kserve_v1(body, make_options)
    if isinstance(body, dict) and "inputs" in body:
        return _from_kserve_v2(body, make_options)
    photo, asked = _photo_and_options(body, "the body")
    return CaptionRequest([photo], [make_options(*asked)])


def parse_json(body: bytes | bytearray | str) -> Any:
    """Return a body's JSON value, in memory that is bounded by `MAX_JSON_VALUES`.

    Raises
    ------
    RequestError
        It is no JSON, or has more values.
    """
    # A value of a few bytes takes fifty and more once parsed: count the values before.
    raw = body.encode() if isinstance(body, str) else body
    if sum(raw.count(mark) for mark in (b"[", b"{", b",", b":")) > MAX_JSON_VALUES:
        raise RequestError(
            "invalid_request",
            f"the body is no JSON of photos: it has more than {MAX_JSON_VALUES:,} values",
        )
    try:
        return json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise RequestError("invalid_request", f"the body is no JSON: {error}") from error


def _refuse_constant(constant: str) -> NoReturn:
    """Refuse NaN and infinities, which Python reads but JSON does not have."""
    raise ValueError(f"{constant} is no JSON")


def _from_kserve_v1(body: dict[str, Any], make_options: MakeOptions) -> CaptionRequest:
    """Read KServe's V1 protocol.

    https://kserve.github.io/website/docs/concepts/architecture/data-plane/v1-protocol
    """
    common = _options_in(body, "the body")
    photos, options = [], []
    for i, instance in enumerate(checked_list(body["instances"], "instances")):
        photo, own = _photo_and_options(instance, f"instance {i}")
        photos.append(photo)
        options.append(make_options(*common, *own))
    return CaptionRequest(photos, options, WireFormat.KSERVE_V1)


def _from_kserve_v2(body: dict[str, Any], make_options: MakeOptions) -> CaptionRequest:
    """Read KServe's V2 protocol, with the photos in base64.

    https://github.com/kserve/open-inference-protocol
    """
    common = _options_in(body, "the body")
    photos: list[bytes] = []
    options: list[RequestOptions] = []
    for i, tensor in enumerate(checked_list(body["inputs"], "inputs")):
        tensor = checked_object(tensor, "an input")
        if tensor.get("datatype") != "BYTES":
            raise RequestError(
                "invalid_request",
                f"an input has the datatype {quoted(tensor.get('datatype'))}; it must be 'BYTES',"
                " photos in base64",
            )
        # Clients also describe there how they encode a tensor: other names than options' are fine.
        asked = [
            {name: value for name, value in each.items() if name in OPTIONS}
            for each in _options_in(tensor, f"input {i}")
        ]
        own = make_options(*common, *asked)
        for data in checked_list(tensor.get("data"), "data"):
            photos.append(_from_base64(data, f"image {len(photos)}"))
            options.append(own)
    checked_list(photos, "data")  # the limit counts the photos of all inputs together
    return CaptionRequest(photos, options, WireFormat.KSERVE_V2, _checked_id(body.get("id")))


def _checked_id(value: Any) -> str | None:
    if value is not None and type(value) not in (str, int):
        raise RequestError("invalid_request", f"id is {quoted(value)}; it must be a text")
    if len(text := "" if value is None else str(value)) > MAX_ID:
        raise RequestError(
            "invalid_request", f"id has {len(text)} characters; at most {MAX_ID} are accepted"
        )
    return text or None


def _photo_and_options(body: Any, part: str) -> tuple[bytes, list[dict[str, Any]]]:
    """Read ``{"image": {"b64": ...}, "options": ...}``, ``{"b64": ...}`` or ``{"data": ...}``.

    TorchServe's own examples of KServe send bytes in the last form.
    """
    body = checked_object(body, part)
    image = body.get("image")
    for name in ("b64", "data"):
        if image is None and name in body:
            image = {"b64": body[name]}
    if not isinstance(image, dict) or "b64" not in image:
        raise RequestError(
            "invalid_request",
            f'{part} holds no photo: send {{"image": {{"b64": "..."}}}}, the file in base64',
        )
    return _from_base64(image["b64"], part), _options_in(body, part)


def _options_in(body: dict[str, Any], part: str) -> list[dict[str, Any]]:
    """Return the options in a JSON object: its ``parameters``, as KServe says, and ``options``.

    Raises
    ------
    RequestError
        An option stands beside the photo, where it would be overlooked.
    """
    for name in OPTIONS:
        if name in body:
            raise RequestError(
                "invalid_option", f"{name} stands beside the photo in {part}; put it in options"
            )
    return [checked_object(body[name], name) for name in ("parameters", "options") if name in body]


def _from_base64(data: Any, part: str) -> bytes:
    """Return the photo of a part of the request."""
    if not isinstance(data, str):
        raise RequestError(
            "invalid_request", f"the photo of {part} must be a text, the file in base64"
        )
    check_photo_size(len(data) // 4 * 3 - 2, part)  # before it is decoded: its least size
    try:
        photo = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RequestError(
            "invalid_request", f"the photo of {part} is not base64: {error}"
        ) from error
    check_photo_size(len(photo), part)
    return photo


def checked_object(value: Any, part: str) -> dict[str, Any]:
    """Return a JSON object; raises `RequestError`, which names the part, if it is none."""
    if not isinstance(value, dict):
        raise RequestError("invalid_request", f"{part} must be a JSON object")
    return value


def checked_list(value: Any, name: str) -> list[Any]:
    """Return a list of one photo or several; raises `RequestError`, which names it, otherwise."""
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_PHOTOS:
        raise RequestError("invalid_request", f"{name} must be a list of 1 to {MAX_PHOTOS}")
    return value
