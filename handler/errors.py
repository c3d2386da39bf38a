"""What a caller did wrong, as HTTP says it."""

from __future__ import annotations

from reprlib import Repr
from typing import Any, Self

RETRY_AFTER = 5  # seconds after which a busy server is worth asking again
MAX_QUOTED = 80  # characters

# What a caller sent may be large or nested deeply: a plain `repr` would spell out all of it first.
_REPR = Repr()
_REPR.maxlevel, _REPR.maxlist, _REPR.maxdict, _REPR.maxstring = 3, 40, 10, 200
_REPR.maxother = _REPR.maxlong = 200


class RequestError(ValueError):
    """A request that is refused: its status and code for programs, its message for people."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code

    @classmethod
    def request(cls, message: str) -> Self:
        return cls(400, "invalid_request", message)

    @classmethod
    def option(cls, message: str) -> Self:
        return cls(400, "invalid_option", message)

    @classmethod
    def image(cls, message: str) -> Self:
        return cls(400, "invalid_image", message)

    @classmethod
    def too_large(cls, message: str) -> Self:
        return cls(413, "too_large", message)

    @classmethod
    def media_type(cls, message: str) -> Self:
        return cls(415, "unsupported_media_type", message)

    @classmethod
    def busy(cls, message: str) -> Self:
        return cls(503, "busy", message)


def quoted(value: Any) -> str:
    """Return a value that a caller sent as Python writes it, no longer than a line of a log."""
    text = _REPR.repr(value)
    return text if len(text) <= MAX_QUOTED else f"{text[: MAX_QUOTED - 3]}..."
