"""Limits of rate, connections, time and size, set to values that a test can reach."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.captioner.operations.servers import RunningServer
from tests.deploy.nginx.proxy import (
    NEEDS_NGINX,
    ROUTES,
    SECONDS,
    Proxy,
    Secrets,
    asking,
    check_error,
    port_of,
    proxied,
)

pytestmark = NEEDS_NGINX


def test_the_limit_of_a_body_is_that_of_torchserve(proxy: Proxy) -> None:
    most = 64 * 2**20
    status, reply = proxy.send_raw("POST", ROUTES[0], Content_Length=str(most + 1))
    assert status == 413
    check_error(reply, "too_large")
    assert "64 MiB" in reply["error"]["message"]

    # Of as many bytes as are allowed the captioner is asked, which wants smaller photos.
    asked = proxy.caption(bytes(most))
    assert asked.status_code == 413
    check_error(asked.json(), "too_large")
    assert "32 MiB" in asked.json()["error"]["message"]


def test_too_many_requests(
    tmp_path: Path, secrets: Secrets, serving: RunningServer, render
) -> None:
    changes = ("rate=50r/s", "rate=1r/m"), ("burst=100", "burst=2")
    with proxied(tmp_path, secrets, serving.ports.inference, *changes) as proxy:
        photo = render()
        assert proxy.caption(photo).status_code == 200
        replies = [proxy.caption(photo) for _ in range(10)]
        last = replies[-1]
        assert {reply.status_code for reply in replies} == {200, 429}
        assert last.status_code == 429
        assert last.headers["retry-after"] == "1"
        check_error(last.json(), "too_many_requests")
        assert last.headers["x-request-id"] == last.json()["request_id"]


def test_too_many_connections(tmp_path: Path, secrets: Secrets, scripted) -> None:
    scripted.answer = lambda asked: (200, {"caption": "a dog"})
    change = ("limit_conn captioner_connections 32;", "limit_conn captioner_connections 1;")
    with proxied(tmp_path, secrets, port_of(scripted), change) as proxy:
        with asking(proxy):
            refused = proxy.caption(b"photo")
            assert refused.status_code == 429
            check_error(refused.json(), "too_many_requests")
        deadline = time.monotonic() + SECONDS
        while proxy.caption(b"photo").status_code != 200:  # it notices soon that the other left
            assert time.monotonic() < deadline


@pytest.mark.slow
def test_a_client_that_stops_sending_is_cut_off(tmp_path: Path, secrets: Secrets, scripted) -> None:
    changes = (
        ("client_body_timeout 10s;", "client_body_timeout 1s;"),
        ("client_header_timeout 10s;", "client_header_timeout 1s;"),
    )
    with proxied(tmp_path, secrets, port_of(scripted), *changes) as proxy:
        with asking(proxy) as connection:
            assert connection.recv(1000) == b""
        with proxy.raw() as connection:
            connection.sendall(b"POST /predictions/captioner HTTP/1.1\r\nHost")
            assert connection.recv(1000) == b""
    assert not scripted.asked  # what is not complete has not reached the captioner
