"""Requests as the captioner gets them, and the answers for one that is down or slow."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from captioner.client import CaptionClient, Unavailable
from tests.deploy.nginx.proxy import (
    CONFIGURATION,
    NAME,
    NEEDS_NGINX,
    PASSWORD,
    ROUTES,
    SECONDS,
    Secrets,
    check_error,
    port_of,
    proxied,
)

UNUSED_PORT = 9  # ordinary programs cannot listen below 1024

pytestmark = NEEDS_NGINX


def test_the_captioner_gets_the_request_without_the_password(
    tmp_path: Path, secrets: Secrets, scripted
) -> None:
    scripted.answer = lambda asked: (200, {"caption": "a dog"}, {"x-request-id": "7"})
    with proxied(tmp_path, secrets, port_of(scripted)) as proxy:
        headers = {"X-Caption-Beam-Size": "5", "Accept": "image/png", "Content-Type": "image/jpeg"}
        for path in (*ROUTES, "/models/../predictions/captioner?a=b"):
            reply = proxy.ask("POST", path, data=b"photo", headers=headers)
            assert (reply.status_code, reply.headers["x-request-id"]) == (200, "7")
        chunked = proxy.ask("POST", ROUTES[0], data=iter([b"ph", b"oto"]), headers=headers)
        assert chunked.ok
    assert [asked.path for asked in scripted.asked] == [*ROUTES, ROUTES[0], ROUTES[0]]
    for asked in scripted.asked:
        assert asked.body == b"photo"
        assert asked.headers["content-length"] == "5"  # it was read in full before
        assert "authorization" not in asked.headers
        for name, value in headers.items():
            assert asked.headers[name.lower()] == value
    assert len({asked.peer for asked in scripted.asked}) == 1  # the connection is kept


def test_a_token_for_the_captioner_can_be_configured(
    tmp_path: Path, secrets: Secrets, scripted
) -> None:
    scripted.answer = lambda asked: (200, {"status": "Healthy"})
    text = CONFIGURATION.read_text()
    (line,) = [each for each in text.splitlines() if "Bearer KEY" in each]
    change = ('    proxy_set_header Authorization "";', line.replace("# ", ""))
    with proxied(tmp_path, secrets, port_of(scripted), change) as proxy:
        assert proxy.caption(b"photo").ok
        assert proxy.ask("GET", "/ping", auth=None).ok
    assert [asked.headers["authorization"] for asked in scripted.asked] == ["Bearer KEY"] * 2


def test_a_captioner_that_is_down(
    tmp_path: Path, secrets: Secrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    with proxied(tmp_path, secrets, UNUSED_PORT) as proxy:
        reply = proxy.caption(b"photo")
        assert reply.status_code == 502
        assert reply.headers["retry-after"] == "5"
        check_error(reply.json(), "unavailable")

        monkeypatch.setenv("SSL_CERT_FILE", str(secrets.certificate))
        url = proxy.url.replace("//", f"//{NAME}:{PASSWORD.replace(' ', '%20')}@")
        with CaptionClient(url, retries=0) as client, pytest.raises(Unavailable) as raised:
            client.caption(b"photo")
        assert (raised.value.status, raised.value.code) == (502, "unavailable")


def test_a_captioner_that_does_not_answer_is_asked_once(
    tmp_path: Path, secrets: Secrets, scripted
) -> None:
    over = threading.Event()
    change = ("proxy_read_timeout 120s;", "proxy_read_timeout 1s;")
    with proxied(tmp_path, secrets, port_of(scripted), change) as proxy:
        scripted.answer = lambda asked: None
        reply = proxy.caption(b"photo")
        assert reply.status_code == 502
        scripted.answer = lambda asked: over.wait(SECONDS) and None
        reply = proxy.caption(b"photo")
        assert reply.status_code == 504
        check_error(reply.json(), "timeout")
        over.set()
    assert len(scripted.asked) == 2
