"""What a caller did wrong, as HTTP says it."""

from __future__ import annotations

from typing import Self


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
