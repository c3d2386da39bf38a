"""Requests that are refused: HTTP statuses, error codes and messages."""

from __future__ import annotations

from reprlib import Repr
from typing import Any, Literal, TypeAlias

Code: TypeAlias = Literal[
    "invalid_request",
    "invalid_option",
    "invalid_image",
    "too_large",
    "unsupported_media_type",
    "busy",
]
STATUSES: dict[Code, int] = {
    "invalid_request": 400,
    "invalid_option": 400,
    "invalid_image": 400,
    "too_large": 413,
    "unsupported_media_type": 415,
    "busy": 503,
}
RETRY_AFTER = 5  # seconds after which a client may ask a busy server again
MAX_QUOTED = 80  # characters

# A value that a client sent may be large or deeply nested, and plain `repr` would spell out all of
# it before it could be cut.
_REPR = Repr()
_REPR.maxlevel, _REPR.maxlist, _REPR.maxdict, _REPR.maxstring = 3, 40, 10, 200
_REPR.maxother = _REPR.maxlong = 200


class RequestError(ValueError):
    """A request that is refused: status and code are for programs, the message is for people."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code, self.status = code, STATUSES[code]


def quoted(value: Any) -> str:
    """Return a value that a client sent as Python writes it, cut to `MAX_QUOTED` characters."""
    text = _REPR.repr(value)
    return text if len(text) <= MAX_QUOTED else f"{text[: MAX_QUOTED - 3]}..."


def failure_status(error: Exception) -> int:
    """Return the status with which a server answers the requests of a batch that failed whole.

    TorchServe decides by the same text.
    """
    return 507 if isinstance(error, MemoryError) or "CUDA" in str(error) else 503
