"""Bodies of HTTP requests -> the fields that `handler.parsing` reads, as TorchServe names them."""

from __future__ import annotations

from collections.abc import Mapping
from email.message import Message
from email.parser import HeaderParser

from handler.errors import RequestError
from handler.json_bodies import looks_like_json
from handler.parsing import JSON_TYPE, URLENCODED_TYPE

MULTIPART_TYPE = "multipart/form-data"
MAX_FIELDS = 100  # of a form; a photo and every option are ten
MAX_HEADERS = 8 * 2**10  # bytes of a field's headers, which Python parses slowly


def read_body(body: bytes, headers: Mapping[str, str]) -> tuple[dict[str, bytes], dict[str, str]]:
    """Return the fields of a request's body, and the headers that describe them.

    A body that is no form is the one field ``body``. JSON that says it is a form, as ``curl -d``
    sends it, is given its own type.

    Parameters
    ----------
    headers
        By their names in lower case.

    Raises
    ------
    RequestError
        The body says that it is a form, but is not.
    """
    described = dict(headers)
    message = Message()
    message["content-type"] = headers.get("content-type", "")
    media_type = message.get_content_type()
    if media_type == MULTIPART_TYPE:
        return _form_fields(body, _parameter(message, "content-type", "boundary")), described
    if media_type == URLENCODED_TYPE:
        if not looks_like_json(body[:99]):
            return {}, described
        described["content-type"] = JSON_TYPE
    return {"body": body}, described


def _form_fields(body: bytes, boundary: str | None) -> dict[str, bytes]:
    """Return the fields of a multipart form (RFC 7578); the last of a name wins.

    The parsers of libraries go through a form byte by byte in Python, which takes tens of seconds
    for a body that is made for it.
    """
    if not boundary:
        raise _malformed("its Content-Type has no boundary")
    delimiter = b"\r\n--" + boundary.encode("latin-1", "replace")
    _, *parts = (b"\r\n" + body).split(delimiter, MAX_FIELDS + 1)
    if len(parts) > MAX_FIELDS:
        raise _malformed(f"it has more than {MAX_FIELDS} fields")
    if not parts or not parts[-1].startswith(b"--"):
        raise _malformed("its last boundary is missing")
    fields = {}
    for part in parts[:-1]:
        head, blank, content = part.partition(b"\r\n\r\n")
        if not blank:
            raise _malformed("a field has no end of its headers")
        if len(head) > MAX_HEADERS:
            raise _malformed(f"a field has more than {MAX_HEADERS} bytes of headers")
        fields[_field_name(head)] = content
    return fields


def _field_name(head: bytes) -> str:
    """Return the name of a field from the rest of a boundary's line and the headers after it."""
    _, _, lines = head.partition(b"\r\n")
    headers = HeaderParser().parsestr(lines.decode("latin-1"))
    name = _parameter(headers, "content-disposition", "name")
    if name is None:
        raise _malformed("a field has no name")
    return name.encode("latin-1").decode(errors="replace")


def _parameter(headers: Message, header: str, name: str) -> str | None:
    """Return a parameter of a header; None if it is missing, malformed or in RFC 2231's form.

    RFC 7578 forbids that form. For some of it that makes no sense, Python's parser raises any of
    these errors, which would fail the other requests of a batch, too.
    """
    try:
        value = headers.get_param(name, header=header)
    except (LookupError, TypeError, ValueError):
        return None
    return value.rstrip() if isinstance(value, str) else None


def _malformed(fault: str) -> RequestError:
    return RequestError("invalid_request", f"the form is malformed: {fault}")
