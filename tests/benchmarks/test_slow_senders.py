"""Slow senders on a server whose patience is scripted."""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
import threading

import pytest

from benchmarks import slow_senders
from benchmarks.slow_senders import KINDS, send_slowly, sent_slowly


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow_senders, "PAUSE", 0.01)


@pytest.mark.parametrize(("start", "more"), KINDS)
@pytest.mark.parametrize("reply", [b"", b"HTTP/1.1 408 Request Timeout\r\n\r\n"])
def test_who_is_dropped_says_after_how_long(start: bytes, more: bytes, reply: bytes) -> None:
    received = b""

    async def patient(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        received = await reader.readexactly(len(start) + 3 * len(more))
        writer.write(reply)
        writer.close()

    async def run() -> float:
        async with await asyncio.start_server(patient, "127.0.0.1", 0) as server:
            return await send_slowly(server.sockets[0].getsockname()[1], start, more)

    assert 0 < asyncio.run(run()) < math.inf
    assert received == start + 3 * more
    assert not received.endswith(b"\r\n\r\n")


def test_who_is_never_dropped_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow_senders, "GIVE_UP", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert asyncio.run(send_slowly(listener.getsockname()[1], *KINDS[0])) == math.inf


def test_each_begins_anew_until_the_end() -> None:
    """The server drops every one at once; there are more connections than senders."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        enough = threading.Event()

        def drop() -> None:
            with contextlib.suppress(OSError):
                for dropped in range(1000):
                    listener.accept()[0].close()
                    if dropped == 20:
                        enough.set()

        dropping = threading.Thread(target=drop)
        dropping.start()
        with sent_slowly(listener.getsockname()[1], count=4, seconds=600) as drops:
            assert enough.wait(60)
        assert len(drops) > 4
        assert max(drops) < math.inf
        listener.shutdown(socket.SHUT_RDWR)
        dropping.join()
