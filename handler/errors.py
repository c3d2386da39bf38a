"""Requests that are refused: HTTP statuses, error codes and messages."""

from __future__ import annotations

from reprlib import Repr
from typing import Any, Self

RETRY_AFTER = 5  # seconds after which a client may ask a busy server again
MAX_QUOTED = 80  # characters

# A value that a client sent may be large or deeply nested, and plain `repr` would spell out all of
# it before it could be cut.
_REPR = Repr()
_REPR.maxlevel, _REPR.maxlist, _REPR.maxdict, _REPR.maxstring = 3, 40, 10, 200
_REPR.maxother = _REPR.maxlong = 200


class RequestError(ValueError):
    """A request that is refused: status and code are for programs, the message is for people.

    Each class method makes the error of the code that it is named after.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code

    @classmethod
    def invalid_request(cls, message: str) -> Self:
        return cls(400, "invalid_request", message)

    @classmethod
    def invalid_option(cls, message: str) -> Self:
        return cls(400, "invalid_option", message)

    @classmethod
    def invalid_image(cls, message: str) -> Self:
        return cls(400, "invalid_image", message)

    @classmethod
    def too_large(cls, message: str) -> Self:
        return cls(413, "too_large", message)

    @classmethod
    def unsupported_media_type(cls, message: str) -> Self:
        return cls(415, "unsupported_media_type", message)

    @classmethod
    def busy(cls, message: str) -> Self:
        return cls(503, "busy", message)


def quoted(value: Any) -> str:
    """Return a value that a client sent as Python writes it, cut to `MAX_QUOTED` characters."""
    text = _REPR.repr(value)
    return text if len(text) <= MAX_QUOTED else f"{text[: MAX_QUOTED - 3]}..."
