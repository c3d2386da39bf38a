"""Ask a server on this machine for captions, much and cheaply.

The load shares the cores with the server that it measures, so it is plain asyncio: connections
stay open, photos are sent as they are, and of HTTP only what TorchServe answers is understood.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

LOST = 0  # in place of a status: the connection broke or the time was over
OK, BUSY = 200, 503
PAUSE = 0.05  # seconds a client waits after anything but a caption


@dataclass(frozen=True)
class Target:
    """Where the photos go.

    Parameters
    ----------
    port
        On this machine.
    photos
        Bytes; requests name them by their position.
    path
        What is asked for.
    timeout
        Seconds after which a request is lost.
    """

    port: int
    photos: Sequence[bytes]
    path: str = "/predictions/captioner"
    timeout: float = 60.0


@dataclass(frozen=True)
class Reply:
    """What became of one request."""

    photo: int
    start: float  # by `time.perf_counter`
    seconds: float
    status: int
    caption: str | None  # None unless the status is 200 and the body has one
    version: str | None = None  # that wrote it, as it says

    @property
    def end(self) -> float:
        return self.start + self.seconds


class Connection:
    """One caller: opened when it first asks, kept open as long as the server does."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, photo: int) -> Reply:
        """Send the photo of this position; whatever happens is a reply."""
        start = time.perf_counter()
        try:
            async with asyncio.timeout(self._target.timeout):
                status, body = await self._exchange(self._target.photos[photo])
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError):
            self.close()
            status, body = LOST, b""
        caption, version = _caption(body) if status == OK else (None, None)
        return Reply(photo, start, time.perf_counter() - start, status, caption, version)

    def close(self) -> None:
        """At once: nobody waits for what is under way."""
        if self._streams:
            self._streams[1].transport.abort()
        self._streams = None

    async def _exchange(self, photo: bytes) -> tuple[int, bytes]:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._target.port)
        reader, writer = self._streams
        head = (
            f"PUT {self._target.path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Content-Type: image/jpeg\r\nContent-Length: {len(photo)}\r\n\r\n"
        )
        writer.write(head.encode())
        writer.write(photo)
        await writer.drain()
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        status = int(first.split()[1])
        fields = (line.partition(":") for line in lines if line)
        headers = {name.strip().lower(): value.strip() for name, _, value in fields}
        if "content-length" not in headers:
            raise ValueError("the reply does not say how long it is")
        body = await reader.readexactly(int(headers["content-length"]))
        # TorchServe closes after an error and does not always say so.
        if status >= 400 or headers.get("connection", "").lower() == "close":
            self.close()
        return status, body


async def closed_loop(
    target: Target, photos: Iterator[int], clients: int, replies: list[Reply] | None = None
) -> list[Reply]:
    """As many clients, each of which asks for the next photo once it has its answer.

    Parameters
    ----------
    photos
        Positions; the clients take turns until there are no more.
    replies
        Where the replies go as they come, for one who watches.
    """
    found = [] if replies is None else replies

    async def client() -> None:
        connection = Connection(target)
        try:
            for photo in photos:
                reply = await connection.ask(photo)
                found.append(reply)
                if reply.status != OK:
                    await asyncio.sleep(PAUSE)
        finally:
            connection.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    return found


async def open_loop(target: Target, photos: Iterable[int], rate: float) -> list[Reply]:
    """Ask for so many photos a second, answered or not; returns with the last answer."""
    idle: list[Connection] = []

    async def ask(photo: int) -> Reply:
        connection = idle.pop() if idle else Connection(target)
        reply = await connection.ask(photo)
        idle.append(connection)
        return reply

    start = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        tasks = []
        for i, photo in enumerate(photos):
            await asyncio.sleep(max(0.0, start + i / rate - time.perf_counter()))
            tasks.append(group.create_task(ask(photo)))
    for connection in idle:
        connection.close()
    return [task.result() for task in tasks]


def wrong(replies: Iterable[Reply], captions: Sequence[str]) -> list[Reply]:
    """Those that were answered with another caption than the photo's."""
    return [r for r in replies if r.status == OK and r.caption != captions[r.photo]]


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that this share of them does not exceed; 0 < share <= 1."""
    return sorted(values)[math.ceil(share * len(values)) - 1]


def _caption(body: bytes) -> tuple[str | None, str | None]:
    """The caption and the version that wrote it."""
    try:
        told = json.loads(body)
        caption, version = told["caption"], told.get("model", {}).get("version")
    except (ValueError, KeyError, TypeError, AttributeError):
        return None, None
    return (caption, version) if isinstance(caption, str) else (None, None)
