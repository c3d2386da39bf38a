"""Bodies and forms of HTTP requests -> photos and options; no photo is decoded here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from handler.caption_request import CaptionRequest, WireFormat, check_photo_size
from handler.errors import RequestError, quoted
from handler.json_bodies import MakeOptions, from_json, looks_like_json, restore_base64
from handler.options import OPTIONS, RequestOptions, from_headers
from handler.replies import PNG

RAW_TYPES = ("", "application/octet-stream", "binary/octet-stream")  # of photos, beside image/*
JSON_TYPE, URLENCODED_TYPE = "application/json", "application/x-www-form-urlencoded"


def parse(
    fields: Mapping[str, Any],
    headers: Mapping[str, Any],
    defaults: RequestOptions,
    explain: bool = False,
) -> CaptionRequest:
    """Read one request.

    Parameters
    ----------
    fields
        The body under the name ``body``, or the fields of a form: bytes, text, or parsed JSON.
    headers
        The request's headers, in any spelling. Values that are no text are ignored: TorchServe adds
        such a header for each field.
    defaults
        The options of a request that names none.
    explain
        Whether the reply is to show where each word looked.

    Raises
    ------
    RequestError
        The request holds no photo, or has an option that is unknown or out of its range.
    """
    texts = {name: value for name, value in headers.items() if isinstance(value, str)}
    make_options: MakeOptions = partial(defaults.changed, from_headers(texts))
    media_type = _media_type(texts)
    if set(fields) == {"body"}:
        request = _from_body(fields["body"], media_type, make_options)
    elif media_type == URLENCODED_TYPE:
        request = _from_urlencoded(fields, make_options)
    elif fields:
        request = _from_form(fields, make_options)
    else:
        raise RequestError(
            "invalid_request", "the request is empty: send a photo, with curl -T photo.jpg"
        )
    return _explained(request, texts) if explain else request


def _media_type(headers: Mapping[str, str]) -> str:
    """Return the type of the body without its parameters, or an empty text."""
    given = next(iter(_values_of(headers, "content-type")), "")
    return given.partition(";")[0].strip().lower()


def _values_of(headers: Mapping[str, str], name: str) -> list[str]:
    return [value for spelled, value in headers.items() if spelled.lower() == name]


def _explained(request: CaptionRequest, headers: Mapping[str, str]) -> CaptionRequest:
    """Return the request for an explanation, as a picture if its sender accepts one."""
    options = [replace(o, return_tokens=True, return_attention=True) for o in request.options]
    accepts_picture = any(PNG in value.lower() for value in _values_of(headers, "accept"))
    picture = accepts_picture and request.format is WireFormat.PLAIN
    return replace(request, options=options, explain=True, picture=picture)


def _from_body(body: Any, media_type: str, make_options: MakeOptions) -> CaptionRequest:
    """Read a body that is a photo's file or JSON, parsed or not."""
    raw = isinstance(body, bytes | bytearray)
    if media_type == JSON_TYPE or not (raw or isinstance(body, str)):
        return from_json(body, make_options)
    if raw and media_type in RAW_TYPES and looks_like_json(bytes(body[:99])):
        return from_json(body, make_options)
    if not raw or not (media_type.startswith("image/") or media_type in RAW_TYPES):
        raise RequestError(
            "unsupported_media_type",
            f"the request's type is {media_type or 'text'}; send a photo as image/* or"
            f" application/octet-stream, a form, or {JSON_TYPE}",
        )
    return _single_photo(body, "the photo", make_options())


def _from_form(fields: Mapping[str, Any], make_options: MakeOptions) -> CaptionRequest:
    """Read a form: the photo is the field ``data``, or else the only field that is no option."""
    others = [name for name in fields if name not in OPTIONS]
    name = "data" if "data" in fields else others[0] if len(others) == 1 else None
    if name is None:
        raise RequestError(
            "invalid_request",
            "the form holds no photo: send it as the field 'data', with curl -F data=@photo.jpg",
        )
    asked = {key: _field_text(key, value) for key, value in fields.items() if key != name}
    photo = fields[name]
    if not isinstance(photo, bytes | bytearray):
        raise RequestError(
            "unsupported_media_type", f"the field {quoted(name)} is text, not the file of a photo"
        )
    return _single_photo(photo, f"the field {quoted(name)}", make_options(asked))


def _single_photo(photo: bytes | bytearray, name: str, options: RequestOptions) -> CaptionRequest:
    check_photo_size(len(photo), name)
    return CaptionRequest([bytes(photo)], [options])


def _from_urlencoded(fields: Mapping[str, Any], make_options: MakeOptions) -> CaptionRequest:
    """Read JSON that was sent as a form, as ``curl -d`` does if it is given no type.

    The server has split it at ``=`` and ``&`` and replaced every ``+`` by a space. A body without
    either mark, such as base64 that needs no padding, does not reach the handler at all.
    """
    pairs = ((name, _field_text(name, value)) for name, value in fields.items())
    text = "&".join(f"{name}={value}" if value else name for name, value in pairs)
    if not looks_like_json(text[:99].encode()):
        raise RequestError(
            "unsupported_media_type",
            f"the request says that it is {URLENCODED_TYPE}, as curl -d and --data-binary do; send"
            f" a photo with curl -T photo.jpg, and JSON with -H 'Content-Type: {JSON_TYPE}'",
        )
    return from_json(restore_base64(text), make_options)


def _field_text(name: str, value: Any) -> Any:
    """Return the text of a form's field; one that the server has parsed as JSON stays as it is."""
    try:
        return value.decode() if isinstance(value, bytes | bytearray) else value
    except UnicodeDecodeError as error:
        raise RequestError("invalid_option", f"{quoted(name)} is not text") from error
