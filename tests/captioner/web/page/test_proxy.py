"""The page in front of a captioner that is served elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest
import requests

from captioner.addresses import read_address
from captioner.cli.main import main
from captioner.web.page.proxy import create_proxy
from captioner.web.run import listen
from captioner.web.server import Server
from captioner.web.settings import Limits
from tests.captioner.web.fakes import SECONDS, answer, running_app, wait_until
from tests.captioner.web.servers import running_page


@contextlib.contextmanager
def proxied(url: str, limits: Limits | None = None) -> Iterator[str]:
    """Run the page in front of a server, and yield its address."""
    limits = limits or Limits()
    with listen("127.0.0.1", 0) as listener:
        listener.listen()
        server = Server(create_proxy(read_address(url), limits), limits)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])), daemon=True)
        thread.start()
        try:
            wait_until(lambda: server.started)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.handle_exit(15, None)
            thread.join(SECONDS)
    assert not thread.is_alive()


def post(url: str, path: str = "/predictions/captioner", **headers: str) -> requests.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return requests.post(url + path, b"photo", headers=named, timeout=SECONDS)


def test_a_photo_passes_with_the_headers_that_it_needs(scripted) -> None:
    scripted.answer = lambda asked: (
        (200, {"caption": "a dog"}, {"X-Request-Id": "r1", "Set-Cookie": "a=b", "Server": "x"})
    )
    with proxied(scripted.url) as url:
        reply = post(
            url,
            X_Caption_Beam_Size="3",
            Authorization="Bearer key",
            Content_Type="application/octet-stream",
            Cookie="secret=1",
            describe="True",
            X_Forwarded_For="1.2.3.4",
            Origin="http://elsewhere.example",
        )
    assert (reply.json(), reply.headers["x-request-id"]) == ({"caption": "a dog"}, "r1")
    (asked,) = scripted.asked
    assert (asked.method, asked.path, asked.body) == ("POST", "/predictions/captioner", b"photo")
    assert asked.headers["x-caption-beam-size"] == "3"
    assert asked.headers["authorization"] == "Bearer key"
    assert asked.headers["content-type"] == "application/octet-stream"
    assert not {"cookie", "describe", "x-forwarded-for", "origin"} & asked.headers.keys()
    assert not {"set-cookie", "server"} & {name.lower() for name in reply.headers}
    assert not [name for name in reply.headers if name.lower().startswith("access-control")]


def test_a_busy_server_is_passed_on(scripted) -> None:
    scripted.answer = lambda asked: (503, {"error": {}}, {"Retry-After": "7"})
    with proxied(scripted.url) as url:
        reply = post(url, "/predictions/captioner/2.0")
    assert (reply.status_code, reply.headers["retry-after"]) == (503, "7")
    assert scripted.asked[0].path == "/predictions/captioner/2.0"


def test_no_other_address_can_be_reached(scripted) -> None:
    scripted.answer = lambda asked: (200, {})
    paths = ["/predictions/other", "/predictions/captioner/..%2f..%2fmodels", "/models", "/metrics"]
    paths += [
        "/predictions/captioner/",
        "/predictions/captioner/%2e%2e",
        "/models/captioner?url=x",
        "/explanations/captioner",
    ]
    with proxied(scripted.url) as url:
        for path in paths:
            assert post(url, path).status_code in (404, 405), path
        assert requests.options(f"{url}/predictions/captioner", timeout=SECONDS).status_code == 405
        assert scripted.asked == []
        assert requests.get(f"{url}/models/captioner?a=b", timeout=SECONDS).ok
    assert [(each.method, each.path) for each in scripted.asked] == [("GET", "/models/captioner")]


def test_a_password_of_the_address_is_sent_but_not_shown(
    scripted, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    scripted.answer = lambda asked: (200, {"caption": "a dog"})
    with_password = scripted.url.replace("http://", "http://team:hunter2@")
    with proxied(with_password) as url:
        assert post(url).ok
        assert post(url, Authorization="Bearer own").ok
    assert scripted.asked[0].headers["authorization"].startswith("Basic ")
    assert scripted.asked[1].headers["authorization"] == "Bearer own"
    with listen("127.0.0.1", 0) as nobody:
        port = nobody.getsockname()[1]
        with proxied(f"http://team:hunter2@127.0.0.1:{port}") as url:
            gone = post(url)
    assert (gone.status_code, gone.json()["type"]) == (502, "BadGatewayException")
    assert str(port) not in gone.text  # whoever runs the page finds it in the log
    assert str(port) in caplog.text
    assert "hunter2" not in caplog.text + "".join(capfd.readouterr()) + gone.text


def test_a_server_that_sends_elsewhere_is_not_followed(scripted) -> None:
    scripted.answer = lambda asked: (301, {}, {"Location": "http://elsewhere.example/"})
    with proxied(scripted.url) as url:
        reply = post(url)
    assert (reply.status_code, len(scripted.asked)) == (502, 1)
    assert "another address" in reply.json()["message"]


def test_uploads_are_limited_before_they_are_passed_on(scripted) -> None:
    scripted.answer = lambda asked: (200, {})
    with proxied(scripted.url, Limits(request_bytes=4, silence=0.3)) as url:
        refused = post(url)
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), SECONDS) as slow:
            slow.sendall(b"POST /predictions/captioner HTTP/1.1\r\nHost: x\r\n")
            slow.sendall(b"Content-Length: 4\r\n\r\nab")
            status, _, _ = answer(slow)
    assert (refused.status_code, refused.json()["error"]["code"]) == (413, "too_large")
    assert status == 408
    assert scripted.asked == []


def test_replies_are_those_of_the_server_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    with running_app(monkeypatch, key="key") as app, proxied(app.url) as url:
        refused = post(url)
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
        reply = post(url, Authorization="Bearer key")
        assert reply.json() == {"body": "photo", "route": "predict"}
        assert requests.get(url, timeout=SECONDS).headers["content-security-policy"]


@pytest.mark.slow
def test_the_command_shows_the_page_until_a_signal(scripted) -> None:
    scripted.answer = lambda asked: (200, {"caption": "a dog"})
    with running_page(scripted.url) as url:
        assert "<title>Captioner</title>" in requests.get(url, timeout=SECONDS).text
        assert post(url).json() == {"caption": "a dog"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--server", "localhost"], "it must be like http"),
        (["--server", "http://a:80", "--workers", "2"], "--workers is about a captioner"),
        (["--server", "http://a:80", "--key-file", "k"], "--key-file is about a captioner"),
        (["--server", "http://a:80", "--reuse-port"], "leave it out with --server"),
    ],
)
def test_arguments_that_do_not_go_together(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["web", *arguments]) != 0
    assert message in capsys.readouterr().err
