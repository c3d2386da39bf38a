"""TorchServe's form of a request -> photos and options. No tensor, no photo is looked at here."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from handler.errors import RequestError
from handler.options import RequestOptions, from_headers

MOST_PHOTOS = 32  # in one request
MOST_BYTES = 32 * 2**20  # of one photo
RAW_TYPES = ("", "application/octet-stream", "binary/octet-stream")  # besides image/*


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
    texts = {name.lower(): value for name, value in headers.items() if isinstance(value, str)}
    options = defaults.changed(from_headers(texts))
    if set(fields) == {"body"}:
        return _from_body(fields["body"], _media_type(texts), options)
    if not fields:
        raise RequestError.request("the request is empty: send a photo, with curl -T photo.jpg")
    return _from_form(fields, options)


def _media_type(headers: Mapping[str, str]) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def _from_body(body: Any, media_type: str, options: RequestOptions) -> Request:
    if media_type == "application/json" or not isinstance(body, bytes | bytearray | str):
        return _from_json(body, options)
    if isinstance(body, str) or not (media_type.startswith("image/") or media_type in RAW_TYPES):
        raise RequestError.media_type(
            f"the request's type is {media_type or 'text'}; send a photo as image/* or"
            " application/octet-stream, a form, or application/json"
        )
    return Request([_photo(bytes(body), "the photo")], [options])


def _from_form(fields: Mapping[str, Any], options: RequestOptions) -> Request:
    """The photo is the field ``data``, or else the only one that is no option."""
    known = options.__dataclass_fields__
    others = [name for name in fields if name not in known]
    name = "data" if "data" in fields else others[0] if len(others) == 1 else None
    if name is None:
        raise RequestError.request(
            "the form holds no photo: send it as the field 'data', with curl -F data=@photo.jpg"
        )
    asked = {key: _text(key, value) for key, value in fields.items() if key != name}
    photo = fields[name]
    if not isinstance(photo, bytes | bytearray):
        raise RequestError.media_type(f"the field {name!r} is text, not the file of a photo")
    return Request([_photo(bytes(photo), f"the field {name!r}")], [options.changed(asked)])


def _from_json(body: Any, options: RequestOptions) -> Request:
    if isinstance(body, bytes | bytearray | str):
        try:
            body = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise RequestError.request(f"the body is no JSON: {error}") from error
    if isinstance(body, dict) and "instances" in body:
        return _from_kserve_v1(body, options)
    if isinstance(body, dict) and "inputs" in body:
        return _from_kserve_v2(body, options)
    image, options = _image_and_options(body, options, "the body")
    return Request([image], [options])


def _from_kserve_v1(body: dict[str, Any], options: RequestOptions) -> Request:
    """https://kserve.github.io/website/docs/concepts/architecture/data-plane/v1-protocol"""
    options = options.changed(_mapping(body.get("options", {}), "options"))
    instances = _several(body["instances"], "instances")
    photos, chosen = [], []
    for place, instance in enumerate(instances):
        photo, own = _image_and_options(instance, options, f"instance {place}")
        photos.append(photo)
        chosen.append(own)
    return Request(photos, chosen, Form.KSERVE_V1)


def _from_kserve_v2(body: dict[str, Any], options: RequestOptions) -> Request:
    """https://github.com/kserve/open-inference-protocol, with the photos in base64"""
    options = options.changed(_mapping(body.get("parameters", {}), "parameters"))
    photos: list[bytes] = []
    for tensor in _several(body["inputs"], "inputs"):
        tensor = _mapping(tensor, "an input")
        if tensor.get("datatype") != "BYTES":
            raise RequestError.request(
                f"an input has the datatype {tensor.get('datatype')!r:.80}; it must be 'BYTES',"
                " photos in base64"
            )
        for data in _several(tensor.get("data"), "data"):
            photos.append(_decoded(data, f"image {len(photos)}"))
    _several(photos, "data")  # of all inputs together
    given = body.get("id")
    return Request(photos, [options] * len(photos), Form.KSERVE_V2, str(given) if given else None)


def _image_and_options(
    body: Any, options: RequestOptions, what: str
) -> tuple[bytes, RequestOptions]:
    """Of ``{"image": {"b64": ...}, "options": ...}``, or ``{"b64": ...}``."""
    body = _mapping(body, what)
    image = body.get("image", {"b64": body["b64"]} if "b64" in body else None)
    if not isinstance(image, dict) or "b64" not in image:
        raise RequestError.request(
            f'{what} holds no photo: send {{"image": {{"b64": "..."}}}}, the file in base64'
        )
    return (
        _decoded(image["b64"], what),
        options.changed(_mapping(body.get("options", {}), "options")),
    )


def _decoded(data: Any, what: str) -> bytes:
    if not isinstance(data, str):
        raise RequestError.request(f"the photo of {what} must be a text, the file in base64")
    if len(data) > MOST_BYTES * 4 // 3 + 4:
        raise _too_large(what)
    try:
        return _photo(base64.b64decode(data, validate=True), what)
    except (binascii.Error, ValueError) as error:
        if isinstance(error, RequestError):
            raise
        raise RequestError.request(f"the photo of {what} is not base64: {error}") from error


def _photo(photo: bytes, what: str) -> bytes:
    if len(photo) > MOST_BYTES:
        raise _too_large(what)
    return photo


def _too_large(what: str) -> RequestError:
    return RequestError.too_large(f"{what} is over {MOST_BYTES // 2**20} MiB; send a smaller photo")


def _mapping(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RequestError.request(f"{what} must be a JSON object")
    return value


def _several(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_PHOTOS:
        raise RequestError.request(f"{what} must be a list of 1 to {MOST_PHOTOS}")
    return value


def _text(name: str, value: Any) -> str:
    try:
        return value if isinstance(value, str) else bytes(value).decode()
    except (UnicodeDecodeError, TypeError) as error:
        raise RequestError.option(f"{name!r:.80} is not text") from error
