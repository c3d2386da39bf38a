"""Clients reach the paths of the API and nothing else, by TLS and with a password."""

from __future__ import annotations

import base64
import io
import os
import socket
import ssl
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image

from captioner.paths import ROOT
from tests.captioner.operations.servers import RunningServer
from tests.deploy.malformed import check_refusals
from tests.deploy.nginx.proxy import (
    NAME,
    NEEDS_NGINX,
    PASSWORD,
    ROUTES,
    SECONDS,
    Proxy,
    check_error,
)

pytestmark = NEEDS_NGINX


def test_captions_by_tls_with_a_password(proxy: Proxy, serving: RunningServer, render) -> None:
    photo = render()
    direct = requests.put(serving.url, data=photo, timeout=SECONDS).json()
    reply = proxy.caption(photo)
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["x-request-id"] == reply.json()["request_id"]
    assert reply.headers["server"] == "nginx"  # and no version
    content = reply.json()
    assert content | {"request_id": ""} == direct | {"request_id": ""}

    # Options by header, and the captioner's own refusal, are as without a proxy.
    reply = proxy.caption(photo, X_Caption_Beam_Size="2", X_Caption_Num_Captions="2")
    assert len(reply.json()["alternatives"]) == 1
    reply = proxy.caption(photo, X_Caption_Beam_Size="1", X_Caption_Num_Captions="2")
    assert reply.status_code == 400
    check_error(reply.json(), "invalid_option")

    # Every route, as curl, a form and JSON go there.
    for path in ROUTES[:4]:
        assert proxy.ask("PUT", path, data=photo).json()["caption"] == direct["caption"]
    form = proxy.ask("POST", ROUTES[0], files={"data": ("photo.jpg", photo)})
    assert form.json()["caption"] == direct["caption"]
    encoded = base64.b64encode(photo).decode()
    v1 = proxy.ask("POST", ROUTES[4], json={"instances": [{"b64": encoded}]})
    assert v1.json()["predictions"][0]["caption"] == direct["caption"]
    tensor = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [encoded]}
    v2 = proxy.ask("POST", ROUTES[5], json={"inputs": [tensor]})
    assert v2.json()["outputs"][0]["data"] == [direct["caption"]]
    picture = proxy.ask("POST", ROUTES[2], data=photo, headers={"Accept": "image/png"})
    with Image.open(io.BytesIO(picture.content)) as drawn:
        assert drawn.format == "PNG"


def test_the_command_line_works_through_nginx(proxy: Proxy, tmp_path: Path, render) -> None:
    (tmp_path / "photo.jpg").write_bytes(render())
    password = PASSWORD.replace(" ", "%20")
    url = f"https://{NAME}:{password}@127.0.0.1:{proxy.https}"
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "captioner.cli.main",
            "caption",
            tmp_path / "photo.jpg",
            "--server",
            url,
        ],
        cwd=ROOT,
        env=os.environ | {"SSL_CERT_FILE": str(proxy.certificate)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{tmp_path / 'photo.jpg'}: ")


@pytest.mark.parametrize("password", [None, (NAME, "wrong"), ("other", PASSWORD)])
def test_no_caption_without_the_password(proxy: Proxy, render, password: Any) -> None:
    for path in ROUTES:
        reply = proxy.ask("POST", path, data=render(), auth=password)
        assert reply.status_code == 401
        assert reply.headers["www-authenticate"] == 'Basic realm="captioner"'
        check_error(reply.json(), "unauthorized")


def test_ping_needs_no_password(proxy: Proxy) -> None:
    reply = proxy.ask("GET", "/ping", auth=None)
    assert (reply.status_code, reply.json()) == (200, {"status": "Healthy"})


def test_plain_http_leads_to_https(proxy: Proxy) -> None:
    reply = requests.put(
        f"http://127.0.0.1:{proxy.ports.inference}/predictions/captioner?x=1",
        data=b"photo",
        allow_redirects=False,
        timeout=SECONDS,
    )
    assert reply.status_code == 308
    assert reply.headers["location"] == "https://captioner.example/predictions/captioner?x=1"


def test_malformed_requests_are_refused_in_the_captioners_form(proxy: Proxy) -> None:
    check_refusals(proxy.raw)
    # Plain HTTP to the port of TLS, and to that which leads there.
    to_https, to_http = ("127.0.0.1", proxy.https), ("127.0.0.1", proxy.ports.inference)
    check_refusals(lambda: socket.create_connection(to_https, SECONDS), 400, "a TLS handshake")
    check_refusals(lambda: socket.create_connection(to_http, SECONDS))


def test_conditional_requests_get_the_same_answer(proxy: Proxy) -> None:
    for header in ("If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"):
        value = "Thu, 01 Jan 1970 00:00:00 GMT" if "Since" in header else '"x"'
        reply = proxy.ask("GET", "/nothing", headers={header: value, "Range": "bytes=0-1"})
        assert reply.status_code == 404, header
        check_error(reply.json(), "not_found")


def test_the_root_says_what_this_is(proxy: Proxy) -> None:
    for method in ("GET", "HEAD"):
        reply = proxy.ask(method, "/", auth=None)
        assert reply.status_code == 200
        assert reply.headers["content-type"] == "application/json"
    content = proxy.ask("GET", "/").json()
    assert content["service"] == "captioner"
    assert ROUTES[0] in content["message"]
    for method in ("POST", "PUT", "DELETE"):
        reply = proxy.ask(method, "/")
        assert reply.status_code == 405
        check_error(reply.json(), "method_not_allowed")


def test_no_other_path_is_forwarded(proxy: Proxy, serving: RunningServer) -> None:
    for port, path in ((serving.ports.management, "models"), (serving.ports.metrics, "metrics")):
        assert requests.get(f"http://127.0.0.1:{port}/{path}", timeout=SECONDS).ok
    for path in (
        "/captioner-error",
        "/models",
        "/models/captioner",
        "/models/captioner/1.0/set-default",
        "/metrics",
        "/token?type=inference",
        "/api-description",
        "/invocations",
        "/captioner/predict",
        "/predictions",
        "/predictions/captioner/",
        "/predictions/captioner/1.0/more",
        "/predictions/other",
        "/predictions/captioner%0a",
        "/predictions/captioner/../../models",
        "/predictions/captioner/%2e%2e/%2e%2e/models",
        "/v1/models/captioner",
        "/v2/models/captioner",
        "/v2/models/captioner/infer/more",
        "/ping/more",
    ):
        for method in ("GET", "POST", "PUT", "DELETE"):
            status, content = proxy.send_raw(method, path, Content_Length="0")
            assert status == 404, (method, path)
            check_error(content, "not_found")


def test_other_methods_are_refused(proxy: Proxy) -> None:
    refused = [(method, path) for path in ROUTES for method in ("GET", "DELETE", "OPTIONS")]
    for method, path in [*refused, ("POST", "/ping"), ("DELETE", "/ping")]:
        reply = proxy.ask(method, path)
        assert reply.status_code == 405, (method, path)
        check_error(reply.json(), "method_not_allowed")


def test_tls_is_1_2_or_1_3(proxy: Proxy) -> None:
    def connect(version: ssl.TLSVersion) -> str | None:
        context = ssl.create_default_context(cafile=proxy.certificate)
        context.set_ciphers("ALL:@SECLEVEL=0")  # ours, which would not offer 1.1 either
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = context.maximum_version = version
        with (
            socket.create_connection(("127.0.0.1", proxy.https), SECONDS) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
        ):
            return connection.version()

    assert connect(ssl.TLSVersion.TLSv1_3) == "TLSv1.3"
    assert connect(ssl.TLSVersion.TLSv1_2) == "TLSv1.2"
    with pytest.raises(ssl.SSLError) as refused:
        connect(ssl.TLSVersion.TLSv1_1)
    assert refused.value.reason == "TLSV1_ALERT_PROTOCOL_VERSION"  # it is nginx that refuses
