"""Requests that are made to harm, or that only few callers send; workers are scripted."""

from __future__ import annotations

import contextlib
import json
import logging
import socket

import pytest
import requests

from captioner.web.settings import Limits
from tests.captioner.web.fakes import SECONDS, RunningApp, answer, request, running_app, wait_until

JPEG = "Content-Type: image/jpeg\r\n"
PREDICT = b"POST /predictions/captioner HTTP/1.1\r\nHost: x\r\n"
CHUNKED = PREDICT + b"Content-Type: image/jpeg\r\nTransfer-Encoding: chunked\r\n\r\n"


def read_to_end(connection: socket.socket) -> bytes:
    received = b""
    with contextlib.suppress(ConnectionError):
        while part := connection.recv(9999):
            received += part
    return received


def send_all(connection: socket.socket, content: bytes) -> None:
    """Send bytes to a server that may have had enough of them before."""
    with contextlib.suppress(ConnectionError):
        connection.sendall(content)


def chunk(content: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(content), content)


def test_chunks_may_be_small_but_not_all_of_a_large_body(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body of 64 MiB in chunks of one byte would keep the server busy for minutes."""
    monkeypatch.setattr("captioner.web.server.FREE_CHUNKS", 10)
    with running_app(monkeypatch) as app:
        with app.connect() as connection:
            for _ in range(2):  # a new request has its free chunks again
                connection.sendall(CHUNKED + chunk(b"x") * 10 + b"0\r\n\r\n")
                assert answer(connection)[0] == 200
            connection.sendall(CHUNKED + chunk(bytes(256)) * 90 + chunk(b"x") * 10 + b"0\r\n\r\n")
            assert answer(connection)[0] == 200
        with app.connect() as connection:
            send_all(connection, CHUNKED + chunk(b"x") * 1000)
            assert read_to_end(connection).startswith(b"HTTP/1.1 400 ")
        assert [len(body) for (body,) in app.script.batches] == [10, 10, 90 * 256 + 10]


@pytest.mark.parametrize("header", [b"X: " + 17_000 * b"a", b"\r\n".join([b"X: a"] * 17_000)])
def test_long_headers_are_refused(monkeypatch: pytest.MonkeyPatch, header: bytes) -> None:
    """However fast they come: what reads a header in Python may take the square of its length."""
    with running_app(monkeypatch) as app, app.connect() as connection:
        send_all(connection, b"GET /ping HTTP/1.1\r\nHost: x\r\n" + header + b"\r\n\r\n")
        assert read_to_end(connection).startswith(b"HTTP/1.1 400 ")


def test_what_follows_the_last_request_of_a_connection_is_ignored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Some callers end a body with a line more than they announced."""
    with running_app(monkeypatch) as app, app.connect() as connection:
        app.script.gate.clear()
        connection.sendall(request(b"photo", more=f"{JPEG}Connection: close\r\n"))
        wait_until(lambda: len(app.script.batches) == 1)
        connection.sendall(b"\r\n")
        # The server reads in turn: once another connection is answered, it has read this.
        assert requests.get(f"{app.url}/ping", timeout=SECONDS).ok
        app.script.gate.set()
        assert answer(connection)[0] == 200


def test_what_is_no_http_after_a_refusal_only_ends_the_connection(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with running_app(monkeypatch) as app, app.connect() as connection:
        head = b"POST /nothing HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head + chunk(b"photo"))
        assert answer(connection)[0] == 404
        connection.sendall(b"no chunk\r\n")
        assert read_to_end(connection) == b""
    assert [each for each in caplog.records if each.levelno >= logging.ERROR] == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/predictions/captioner/"),
        ("POST", "/predictions/captioner/../captioner"),
        ("POST", "/predictions/%2e%2e/%2e%2e/etc/passwd"),
        ("POST", "/predictions/captioner%00"),
        ("GET", "//evil.example/%2e%2e"),
        ("GET", "/docs/"),
        ("GET", "/ping%0d%0aX-Injected:%20yes"),
        ("CONNECT", "evil.example:443"),
        ("OPTIONS", "*"),
    ],
)
def test_addresses_that_do_not_exist(
    monkeypatch: pytest.MonkeyPatch, method: str, path: str
) -> None:
    """They lead nowhere, least of all to the host that a caller names."""
    with running_app(monkeypatch) as app, app.connect() as connection:
        host = b"Host: evil.example\r\nContent-Length: 0\r\n\r\n"
        connection.sendall(f"{method} {path} HTTP/1.1\r\n".encode() + host)
        status, headers, body = answer(connection)
        assert (status, json.loads(body)["code"]) == (404, 404)
        assert not headers.keys() & {"location", "x-injected"}
        assert app.script.batches == []


def test_a_caller_who_waits_for_100_gets_it_or_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = f"{JPEG}Expect: 100-continue\r\n"
    with running_app(monkeypatch, Limits(request_bytes=1000)) as app, app.connect() as connection:
        connection.sendall(request(b"", length=5, more=waits))
        assert answer(connection)[0] == 100
        connection.sendall(b"photo")
        assert answer(connection)[0] == 200
        connection.sendall(request(b"", length=1001, more=waits))
        assert answer(connection)[0] == 413


def test_head_has_no_body(monkeypatch: pytest.MonkeyPatch) -> None:
    with running_app(monkeypatch) as app:
        for path, status in (("/ping", 200), ("/nothing", 404), ("/predictions/captioner", 405)):
            reply = requests.head(app.url + path, timeout=SECONDS)
            assert (reply.status_code, reply.content) == (status, b"")
            assert int(reply.headers["content-length"]) > 0


def test_a_body_is_not_decompressed(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a small one cannot become a large one."""
    with running_app(monkeypatch) as app:
        headers = {"Content-Type": "image/jpeg", "Content-Encoding": "gzip"}
        requests.post(app.predictions, b"small", headers=headers, timeout=SECONDS)
        assert app.script.batches == [[b"small"]]


def stop(app: RunningApp) -> None:
    """Stop the server; return once nothing listens any more."""
    app.stop()
    wait_until(lambda: not app.server.servers[0].is_serving())


def test_an_upload_in_a_stop_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is never complete is not waited for longer than any other."""
    with (
        running_app(monkeypatch, Limits(silence=1.0)) as app,
        app.connect() as connection,
        app.connect() as silent,
    ):
        for each in (connection, silent):
            each.sendall(request(b"ph", length=5, more=JPEG))
        wait_until(lambda: len(app.server.server_state.tasks) == 2)
        stop(app)
        connection.sendall(b"oto")
        status, headers, body = answer(connection)
        assert (status, headers["connection"]) == (200, "close")
        assert json.loads(body)["body"] == "photo"
        assert answer(silent)[0] == 408


def test_a_caller_who_does_not_read_does_not_hold_up_a_stop(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with running_app(monkeypatch) as app, app.connect() as deaf:
        deaf.sendall(b"GET /docs HTTP/1.1\r\nHost: x\r\n\r\n" * 300)  # more than buffers hold
        connections = app.server.server_state.connections
        wait_until(lambda: any(each.transport.get_write_buffer_size() for each in [*connections]))
        stop(app)
        monkeypatch.setattr("captioner.web.server.SEND_SECONDS", 0.1)
        app.thread.join(SECONDS)
        assert not app.thread.is_alive()
    assert "timeout graceful shutdown exceeded" not in caplog.text
