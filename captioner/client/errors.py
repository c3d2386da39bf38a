"""Errors that a client raises, and how they are read from a server's answer."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from captioner.addresses import redacted

MAX_QUOTED_LETTERS = 200  # of an answer that a message quotes


class CaptionError(RuntimeError):
    """A photo that was not captioned.

    Attributes
    ----------
    status
        The HTTP status; None if no answer came.
    code
        A word for programs, such as ``invalid_image``. An error that the captioner did not write
        itself has TorchServe's type, such as ``ModelNotFoundException``, or ``http_502``.
    message
        A sentence for people.
    request_id
        The server's name for the request; empty if the server gives none.
    """

    def __init__(self, status: int | None, code: str, message: str, request_id: str = "") -> None:
        super().__init__(status, code, message, request_id)
        self.status, self.code = status, code
        self.message, self.request_id = message, request_id

    def __str__(self) -> str:
        return self.message if self.status is None else f"{self.message} ({self.status})"


class BadRequest(CaptionError):
    """Status 4xx: the same request would be refused again."""


class Unavailable(CaptionError):
    """An answer of status 5xx or 429, or none, after all retries; a later request may succeed.

    Attributes
    ----------
    retry_after
        Seconds that the server asks to wait, 0 if it asks for none.
    """

    retry_after: float = 0.0


def read_error(
    status: int, reason: str, headers: Mapping[str, str], body: str, authorization: str = ""
) -> CaptionError:
    """Return the error that an answer without success means.

    Parameters
    ----------
    reason
        The phrase after the status, such as ``Not Found``.
    headers
        The answer's headers; lookup ignores case.
    authorization
        The request's ``Authorization``; a server may repeat it, and no message shows it.
    """
    code, message, request_id = _read_body(status, reason, headers, body, authorization)
    if status >= 500 or status == HTTPStatus.TOO_MANY_REQUESTS:
        failure = Unavailable(status, code, message, request_id)
        failure.retry_after = _retry_after(headers)
        return failure
    kind = BadRequest if status >= 400 else CaptionError
    return kind(status, code, message, request_id)


def quoted(text: str, authorization: str = "") -> str:
    """Return the beginning of an answer on one line, without the credentials it may repeat.

    A whole page of HTML or an attention map would bury the message that quotes it.
    """
    words = text[: 10 * MAX_QUOTED_LETTERS].split()
    line = _without_credentials(" ".join(words), authorization)
    if len(line) <= MAX_QUOTED_LETTERS:
        return line
    return f"{line[: MAX_QUOTED_LETTERS - 3]}..."


def _read_body(
    status: int, reason: str, headers: Mapping[str, str], body: str, authorization: str
) -> tuple[str, str, str]:
    """Return code, message and request id of the captioner's, TorchServe's or a proxy's error."""
    request_id = headers.get("x-request-id", "")
    try:
        content = json.loads(body)
        error = content.get("error", content)
        # TorchServe's own "code" is the status once more; what happened is its "type".
        code = error.get("type") or error["code"]
        message = _without_credentials(str(error["message"]), authorization)
        return str(code), message, str(content.get("request_id") or request_id)
    except (ValueError, LookupError, TypeError, AttributeError):
        pass  # the answer of something else, such as a proxy's page
    line = f"status {status} {reason}".rstrip()
    location = _without_credentials(headers.get("location", ""), authorization)
    more = f"redirected to {location}" if location else quoted(body, authorization)
    return f"http_{status}", f"{line}: {more}" if more else line, request_id


def _without_credentials(text: str, authorization: str) -> str:
    """Remove from a server's answer the credentials that it was sent."""
    scheme, _, credentials = authorization.partition(" ")
    secrets = [credentials]
    if scheme.lower() == "basic":
        with suppress(ValueError):  # the header may be the caller's own, and not base64
            secrets.append(b64decode(credentials).decode().partition(":")[2])
    for secret in filter(None, secrets):
        text = text.replace(secret, "***")
    return redacted(text)


def _retry_after(headers: Mapping[str, str]) -> float:
    """Return the seconds that the server asks to wait.

    A date is compared with the server's own, whatever this machine's clock says.
    """
    text = headers.get("retry-after", "").strip()
    if text.isdecimal():
        return float(text)
    try:
        wait = parsedate_to_datetime(text) - parsedate_to_datetime(headers["date"])
    except (LookupError, ValueError, TypeError):
        return 0.0
    return max(0.0, wait.total_seconds())
