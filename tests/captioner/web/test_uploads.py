"""Senders that are slow, send too much, or too much at once."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket

import pytest
import requests
from starlette.requests import Request

from captioner.web.settings import Limits
from captioner.web.uploads import Uploads
from handler.errors import RequestError
from tests.captioner.web.fakes import SECONDS, RunningApp, answer, request, running_app, wait_until


def is_answered(app: RunningApp) -> bool:
    headers = {"Content-Type": "image/jpeg"}
    reply = requests.post(app.predictions, data=b"photo", headers=headers, timeout=SECONDS)
    return reply.status_code == 200


def test_senders_that_fall_silent_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """200 of them hurt nobody else, and what they have sent is forgotten."""
    with running_app(monkeypatch, Limits(silence=2.0)) as app, contextlib.ExitStack() as stack:
        slow = [stack.enter_context(app.connect()) for _ in range(200)]
        for connection in slow:
            connection.sendall(request(b"half of a photo", length=10_000))
        assert is_answered(app)
        statuses = [answer(connection)[0] for connection in slow]
        assert set(statuses) == {408}
        assert is_answered(app)
        assert app.script.batches == [[b"photo"]] * 2


def test_a_sender_of_single_bytes_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is never silent, but too slow on average."""
    with running_app(monkeypatch, Limits(silence=0.5, rate=10_000)) as app, app.connect() as slow:
        slow.settimeout(0.05)
        slow.sendall(request(b"", length=10_000))
        reply = b""
        for _ in range(10_000):
            try:
                slow.sendall(b"x")
                reply = slow.recv(99)
            except TimeoutError:
                continue
            except ConnectionError:
                pass
            break
        assert reply.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("start", [b"", b"POST /predictions/captioner HTTP/1.1\r\nHost: "])
def test_a_request_that_never_begins_is_dropped(
    monkeypatch: pytest.MonkeyPatch, start: bytes
) -> None:
    with running_app(monkeypatch, Limits(silence=0.2)) as app, app.connect() as slow:
        slow.sendall(start)
        with contextlib.suppress(ConnectionResetError):
            assert slow.recv(99) == b""


def test_a_second_request_that_never_ends_its_head_is_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with running_app(monkeypatch, Limits(silence=0.2)) as app, app.connect() as slow:
        slow.sendall(request(b"photo", more="Content-Type: image/jpeg\r\n"))
        assert answer(slow)[0] == 200
        slow.sendall(b"POST /predic")
        with contextlib.suppress(ConnectionResetError):
            assert slow.recv(99) == b""


def chunked(count: int, size: int) -> bytes:
    head = b"POST /predictions/captioner HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + count * (f"{size:x}\r\n".encode() + bytes(size) + b"\r\n")


def test_a_body_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with running_app(monkeypatch, Limits(request_bytes=1000)) as app:
        for sent in (request(b"", length=1001), request(bytes(1001)), chunked(3, 400)):
            with app.connect() as connection:
                connection.sendall(sent)
                status, headers, body = answer(connection)
            assert (status, headers["connection"]) == (413, "close")
            assert b'"code": "too_large"' in body
            assert headers["x-request-id"].encode() in body
        assert is_answered(app)
        assert app.script.batches == [[b"photo"]]


def test_a_refusal_reaches_a_sender_who_does_not_listen_yet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It sends all of its body first, more than the buffers of the system hold."""
    with running_app(monkeypatch, Limits(request_bytes=1000)) as app:
        reply = requests.post(app.predictions, data=bytes(20 * 2**20), timeout=SECONDS)
    assert (reply.status_code, reply.json()["error"]["code"]) == (413, "too_large")


def test_bodies_together_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    with running_app(monkeypatch, Limits(held_bytes=3000)) as app:
        app.script.gate.clear()
        with contextlib.ExitStack() as stack:

            def send(size: int) -> socket.socket:
                connection = stack.enter_context(app.connect())
                connection.sendall(request(b"x" * size, more="Content-Type: image/jpeg\r\n"))
                return connection

            first = send(2000)
            wait_until(lambda: len(app.script.batches) == 1)
            status, headers, _ = answer(send(1500))
            assert status == 503
            assert int(headers["retry-after"]) > 0
            second = send(1000)
            wait_until(lambda: app.models.pool().waiting == 1)
            app.script.gate.set()
            assert [answer(each)[0] for each in (first, second)] == [200, 200]
            assert answer(send(3000))[0] == 200


def test_a_caller_who_does_not_read_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("captioner.web.server.SEND_SECONDS", 0.1)
    with running_app(monkeypatch) as app, app.connect() as deaf:
        pages = b"GET /docs HTTP/1.1\r\nHost: x\r\n\r\n" * 300  # more than buffers hold
        deaf.sendall(pages)
        wait_until(lambda: len(app.server.server_state.connections) == 1)
        wait_until(lambda: not app.server.server_state.connections)
        assert is_answered(app)


def test_a_body_that_is_refused_is_forgotten_before_it_is_answered() -> None:
    """An answer takes a while, and refused bodies do not count as held."""

    parts = [bytes(400) for _ in range(3)]
    first = parts[0]

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": parts.pop(0), "more_body": True}

    async def read() -> None:
        request = Request({"type": "http", "headers": []}, receive)
        async with Uploads(Limits(request_bytes=1000)).body(request):
            pass

    with pytest.raises(RequestError) as caught:
        asyncio.run(read())
    assert caught.value.code == "too_large"
    assert [each for each in gc.get_referrers(first) if isinstance(each, list)] == []
