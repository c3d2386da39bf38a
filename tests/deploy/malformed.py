"""Malformed HTTP requests, sent over raw sockets, and the statuses that nginx may answer."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

PATH = "/predictions/captioner"


def _request(line: str, *headers: str, body: str = "") -> bytes:
    return "\r\n".join([line, *headers, "", body]).encode("latin-1")


def malformed() -> Iterator[tuple[str, bytes, set[int]]]:
    """Yield a name, the bytes to send, and the right statuses."""
    post, host = f"POST {PATH} HTTP/1.1", "Host: x"
    for name, uri in {
        "NUL": f"{PATH}%00",
        "NUL in the middle": "/pred%00ictions/captioner",
        "bad escape": f"{PATH}%zz",
        "escape cut short": f"{PATH}%4",
        "no slash": "predictions/captioner",
        "above the root": "/../../etc/passwd",
        "control character": f"{PATH}\x01",
    }.items():
        yield f"address: {name}", _request(f"POST {uri} HTTP/1.1", host), {400}
    yield "address: 9 kB", _request(f"POST {PATH}/{'a' * 9000} HTTP/1.1", host), {414}
    yield "address: query of 9 kB", _request(f"GET {PATH}?{'a' * 9000} HTTP/1.1", host), {414}
    yield "header: 9 kB", _request(post, host, f"X-Long: {'a' * 9000}"), {431}
    yield "header: name of 9 kB", _request(post, host, f"{'a' * 9000}: b"), {431}
    many = [f"X-{i}: {'a' * 900}" for i in range(60)]
    yield "header: 54 kB in all", _request(post, host, *many), {431}
    for name, headers in {
        "no host": [],
        "two hosts": [host, "Host: y"],
        "bad host": ["Host: a/b"],
        "length that is not a number": [host, "Content-Length: x"],
        "negative length": [host, "Content-Length: -1"],
        "two lengths": [host, "Content-Length: 1", "Content-Length: 2"],
        "length and chunks": [host, "Content-Length: 1", "Transfer-Encoding: chunked"],
        "NUL": [host, "X-A: a\0b"],
    }.items():
        yield f"header: {name}", _request(post, *headers), {400}
    yield "header: length beyond all", _request(post, host, f"Content-Length: {10**18}"), {413}
    yield "header: unknown coding", _request(post, host, "Transfer-Encoding: gzip"), {501}
    yield (
        "malformed chunk",
        _request(post, host, "Transfer-Encoding: chunked", body="zz\r\n"),
        {400},
    )
    yield (
        "version: 1.0 and chunks",
        _request(f"POST {PATH} HTTP/1.0", host, "Transfer-Encoding: chunked", body="0\r\n\r\n"),
        {400},
    )
    yield "version: 3.7", _request(f"POST {PATH} HTTP/3.7", host), {505}
    yield "version: none", _request(f"POST {PATH} HTPT/1.1", host), {400}
    yield "method: small letters", _request(f"post {PATH} HTTP/1.1", host), {400}
    yield "method: characters", _request(f"P(ST {PATH} HTTP/1.1", host), {400}
    yield "method: TRACE", _request(f"TRACE {PATH} HTTP/1.1", host), {405}
    yield "method: CONNECT", _request("CONNECT x:443 HTTP/1.1", host), {400, 405}
    yield "HTTP/2 without TLS", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400, 405, 505}
    yield (
        "a TLS handshake",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(50) + b"\r\n\r\n",
        {400},
    )
    yield "no HTTP at all", b"hello\r\n\r\n", {400}


Connect = Callable[[], AbstractContextManager[socket.socket]]


def check_refusals(connect: Connect, also: int | None = None, but: str = "") -> None:
    """Send each request over a connection of its own; raise `AssertionError` at a wrong answer.

    Parameters
    ----------
    also
        A status that is right for every request.
    but
        The name of a request to leave out.
    """
    for name, sent, statuses in malformed():
        if name == but:
            continue
        with connect() as connection:
            connection.sendall(sent)
            with http.client.HTTPResponse(connection) as response:
                response.begin()
                answered = response.read()
        assert response.status in statuses | {also}, (name, response.status, answered)
        check_form(name, response, answered)


def check_form(name: str, response: http.client.HTTPResponse, answered: bytes) -> dict[str, Any]:
    """Check that an answer has the captioner's form of errors, and return the error."""
    assert response.headers["content-type"] == "application/json", (name, answered)
    content = json.loads(answered)
    assert content.keys() == {"error", "request_id"}, name
    assert content["error"].keys() == {"code", "message"}, name
    assert content["error"]["code"] != "refused", name
    assert content["request_id"] == response.headers["x-request-id"], name
    return dict(content["error"])
