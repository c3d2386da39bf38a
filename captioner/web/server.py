"""Uvicorn, with limits on slow callers and an end that loses no request."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Iterator
from contextlib import suppress
from types import FrameType
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from captioner.listening import CONNECT_SECONDS, ignore_new_connections
from captioner.web.settings import Limits

KEEP_ALIVE = 75.0  # seconds of a connection between requests; load balancers usually have 60
SEND_SECONDS = 30.0  # without a byte read by a caller that has a reply to read
STOP_SECONDS = 90  # for requests under way when the server is stopped
# A stopped server answers requests that were sent before their senders could know of it.
IDLE_SECONDS = 1.0
CLOSE = (b"connection", b"close")

MAX_HEAD = 16 * 2**10  # bytes of a request's headers
# Chunks of a body cost time, however small they are: so many are free, more must be larger.
FREE_CHUNKS, MIN_CHUNK = 10_000, 256  # bytes of a chunk, on average


class Requests(h11.Connection):
    """The requests that come by a connection; those that are made to be slow are refused."""

    def __init__(self) -> None:
        super().__init__(h11.SERVER, MAX_HEAD)
        self._chunks = self._received = 0  # of the body that is arriving

    def next_event(self) -> Any:
        """Return what has come; raises `h11.RemoteProtocolError` if it is no proper HTTP."""
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._chunks = self._received = 0
            if sum(len(name) + len(value) for name, value in event.headers) > MAX_HEAD:
                raise h11.RemoteProtocolError("the headers are too long")
        elif isinstance(event, h11.Data):
            self._chunks += event.chunk_start
            self._received += len(event.data)
            if self._chunks > FREE_CHUNKS + self._received / MIN_CHUNK:
                raise h11.RemoteProtocolError("the chunks are too small")
        return event


class Connection(H11Protocol):
    """A connection that is dropped if the head of a request or the reading of a reply is slow.

    Uvicorn limits neither. Bodies are limited by `captioner.web.uploads`.
    """

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.conn = Requests()
        self._head_since: float | None = None  # when the head of a request began; None between
        self._unsent = 0  # bytes of a reply that the caller has not read
        self._unsent_since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head_since = self.loop.time()

    def data_received(self, data: bytes) -> None:
        if self.conn.their_state in (h11.MUST_CLOSE, h11.CLOSED):
            return  # more after the last request of a connection, such as the end of a line
        if self._between_requests() and self._head_since is None:
            self._head_since = self.loop.time()
        super().data_received(data)
        if not self._between_requests():
            self._head_since = None

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP; where a reply has begun, only the connection can end."""
        try:
            super().send_400_response(msg)
        except h11.LocalProtocolError:
            self.transport.abort()

    def drop_if_slow(self, head_seconds: float) -> None:
        """Drop the connection if its caller is too slow; to be called every second."""
        now = self.loop.time()
        unsent = self.transport.get_write_buffer_size()
        if not unsent or unsent < self._unsent or not self._unsent:
            self._unsent_since = now
        self._unsent = unsent
        slow_head = self._head_since is not None and now - self._head_since > head_seconds
        if slow_head or now - self._unsent_since > SEND_SECONDS:
            self.transport.abort()

    def shutdown(self) -> None:
        """Answer the request under way as the last; between requests, wait a moment for one."""
        if self._between_requests():
            self.loop.call_later(IDLE_SECONDS, self._close_if_idle)
        else:
            self.cycle.keep_alive = False
            self.cycle.default_headers = self.server_state.default_headers

    def _close_if_idle(self) -> None:
        if self._between_requests():
            super().shutdown()

    def _between_requests(self) -> bool:
        return self.cycle is None or self.cycle.response_complete


class Server(uvicorn.Server):
    """Uvicorn with these connections; SIGTERM ends it without an error."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._limits = limits
        super().__init__(
            uvicorn.Config(
                app,
                http=Connection,
                ws="none",
                loop="asyncio",
                log_config=None,
                access_log=False,
                server_header=False,
                limit_concurrency=limits.connections,
                timeout_keep_alive=int(KEEP_ALIVE),
                timeout_graceful_shutdown=STOP_SECONDS,
            )
        )
        # It warns of every malformed request, which anyone can send.
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop at a signal; a second one does not wait for requests under way.

        Uvicorn's own method would end the process by the signal afterwards.
        """
        self.force_exit = self.should_exit
        self.should_exit = True

    async def on_tick(self, counter: int) -> bool:
        if counter % 10 == 0:  # every second
            self._drop_slow()
        return await super().on_tick(counter)

    def _drop_slow(self) -> None:
        for connection in list(self.server_state.connections):
            if isinstance(connection, Connection):
                connection.drop_if_slow(self._limits.silence)

    async def _go_on_dropping(self) -> None:
        while True:
            self._drop_slow()
            await asyncio.sleep(1)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept nothing more, answer what has come, and end."""
        self.server_state.default_headers = [*self.server_state.default_headers, CLOSE]
        for listener in sockets or ():
            ignore_new_connections(listener)
        await asyncio.sleep(CONNECT_SECONDS)
        # What the system has accepted for us would be reset.
        waiting = [each for listener in sockets or () for each in _accepted(listener)]
        for server in self.servers:
            server.close()
        for each in waiting:
            await asyncio.get_running_loop().connect_accepted_socket(self._connection, each)
        dropping = asyncio.create_task(self._go_on_dropping())
        try:
            await super().shutdown(sockets)
        finally:
            dropping.cancel()

    def _connection(self) -> Connection:
        return Connection(self.config, self.server_state, self.lifespan.state)


def _accepted(listener: socket.socket) -> Iterator[socket.socket]:
    """Yield the connections that wait to be accepted."""
    with suppress(BlockingIOError):
        while True:
            connection, _ = listener.accept()
            connection.setblocking(False)
            yield connection
