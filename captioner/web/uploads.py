"""Bodies of requests as they arrive: bounded in size, together and in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from starlette.requests import ClientDisconnect, Request

from captioner.web.errors import too_slow, unavailable
from captioner.web.settings import Limits
from handler.errors import RequestError


class Uploads:
    """The bodies that a server holds."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._held = 0  # bytes

    @asynccontextmanager
    async def body(self, request: Request) -> AsyncIterator[bytes]:
        """Read the body of a request, and count its bytes as held for the block.

        Raises
        ------
        RequestError
            It is too large.
        ServerError
            It came too slowly, or the bodies of all requests together are too large.
        ClientDisconnect
            The caller has gone.
        """
        size = request.headers.get("content-length", "")
        if size.isdecimal():
            self._check_size(int(size))  # before a byte of it is read
        chunks: list[bytes] = []
        held = 0
        try:
            async for chunk in self._chunks(request):
                held += len(chunk)
                self._held += len(chunk)
                self._check_size(held)
                self._check_held()
                chunks.append(chunk)
            body = b"".join(chunks)
            chunks.clear()
            yield body
        finally:
            chunks.clear()  # an error that is being answered still refers to them
            self._held -= held

    @contextmanager
    def holding(self, size: int) -> Iterator[None]:
        """Count more bytes as held for the block, of what is made of a body.

        Raises
        ------
        ServerError
            All that is held is too large.
        """
        self._held += size
        try:
            self._check_held()
            yield
        finally:
            self._held -= size

    def _check_held(self) -> None:
        if self._held > self._limits.held_bytes:
            raise unavailable("requests take too much memory")

    def _check_size(self, size: int) -> None:
        if size > self._limits.request_bytes:
            raise RequestError(
                "too_large",
                f"a request may have at most {self._limits.request_bytes / 2**20:g} MiB",
            )

    async def _chunks(self, request: Request) -> AsyncIterator[bytes]:
        """Yield the parts of a body; the slower they come, the sooner their sender is dropped."""
        loop, limits = asyncio.get_running_loop(), self._limits
        started, received = loop.time(), 0
        request.state.body_is_read = False
        while not request.state.body_is_read:
            until = started + limits.silence + received / limits.rate
            try:
                async with asyncio.timeout(min(limits.silence, until - loop.time())):
                    message = await request.receive()
            except TimeoutError:
                raise too_slow() from None
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            request.state.body_is_read = not message.get("more_body", False)
            chunk: bytes = message.get("body", b"")
            received += len(chunk)
            yield chunk
