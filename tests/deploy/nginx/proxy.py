"""The real nginx, configured as is written, in front of the real server and of a scripted one."""

from __future__ import annotations

import base64
import http.client
import io
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image

from captioner.client import CaptionClient, Unavailable
from captioner.operations.torchserve import Ports
from captioner.paths import ROOT
from tests.captioner.operations.test_serve import Serving, started
from tests.deploy.malformed import check_refusals

FOLDER = ROOT / "deploy" / "nginx"
CONFIGURATION = FOLDER / "captioner.conf"
NAME, PASSWORD = "team", "correct horse"
UNUSED = 9  # nothing may listen below 1024
SECONDS = 60.0  # for what comes at once, if it comes


def tool(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")


pytestmark = pytest.mark.skipif(
    not (tool("nginx") and tool("openssl")),
    reason="needs nginx and openssl: apt-get install nginx-light openssl",
)


@dataclass(frozen=True)
class Secrets:
    """A certificate of 127.0.0.1 and the password file."""

    certificate: Path
    key: Path
    passwords: Path


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Secrets:
    folder = tmp_path_factory.mktemp("secrets")
    made = Secrets(folder / "certificate.pem", folder / "key.pem", folder / "htpasswd")
    openssl = str(tool("openssl"))
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=captioner"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-out", str(made.certificate), "-keyout", str(made.key)]
    subprocess.run(command, check=True, capture_output=True)
    command = [openssl, "passwd", "-6", PASSWORD]
    crypted = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    made.passwords.write_text(f"{NAME}:{crypted}")
    return made


@dataclass
class Proxy:
    ports: Ports  # HTTP on the first, HTTPS on the second
    certificate: Path

    @property
    def https(self) -> int:
        return self.ports.management

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.https}"

    def ask(self, method: str, path: str, **more: Any) -> requests.Response:
        more = {"auth": (NAME, PASSWORD), "timeout": SECONDS, "verify": self.certificate} | more
        return requests.request(method, self.url + path, **more)

    def caption(self, photo: bytes, **headers: str) -> requests.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.ask("POST", "/predictions/captioner", data=photo, headers=named)

    @contextmanager
    def raw(self) -> Iterator[socket.socket]:
        context = ssl.create_default_context(cafile=self.certificate)
        with (
            socket.create_connection(("127.0.0.1", self.https), SECONDS) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
        ):
            yield connection

    def as_sent(self, method: str, path: str, **headers: str) -> tuple[int, dict[str, Any]]:
        """What is answered to a path that no client library changes, before any body."""
        password = base64.b64encode(f"{NAME}:{PASSWORD}".encode()).decode()
        lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Authorization: Basic {password}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        with self.raw() as connection:
            connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
            response = http.client.HTTPResponse(connection, method=method)
            response.begin()
            return response.status, json.loads(response.read())


@contextmanager
def proxied(folder: Path, secrets: Secrets, to: int, *changes: tuple[str, str]) -> Iterator[Proxy]:
    """nginx, until the block ends; addresses, paths and what a test must have are changed."""
    ports = Ports.free()
    address = "127.0.0.1:{}".format
    all_changes = [
        ("listen 80;", f"listen {address(ports.inference)};"),
        ("listen 443 ssl;", f"listen {address(ports.management)} ssl;"),
        ("server 127.0.0.1:8080;", f"server {address(to)};"),
        ("certificate /etc/nginx/secrets/certificate.pem;", f"certificate {secrets.certificate};"),
        ("certificate_key /etc/nginx/secrets/key.pem;", f"certificate_key {secrets.key};"),
        ("user_file /etc/nginx/secrets/htpasswd;", f"user_file {secrets.passwords};"),
        *changes,
    ]
    shutil.copytree(FOLDER / "captioner", folder / "captioner")
    shutil.copy(CONFIGURATION, folder)
    files = [folder / "captioner.conf", *(folder / "captioner").iterdir()]
    for written, wanted in all_changes:
        (path,) = [path for path in files if written in path.read_text()]
        assert path.read_text().count(written) == 1, written
        path.write_text(path.read_text().replace(written, wanted))
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"    {kind}_temp_path {folder}/{kind};\n" for kind in kinds)
    # As root the workers would be of another user, who may not read this folder.
    user = "user root;\n" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(
        f"{user}daemon off;\npid {folder}/pid;\nerror_log {folder}/error.log;\nevents {{ }}\n"
        f"http {{\n    access_log off;\n{paths}    include captioner.conf;\n}}\n"
    )
    command = [str(tool("nginx")), "-p", str(folder), "-c", str(folder / "nginx.conf")]
    command += ["-e", str(folder / "error.log")]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    assert "[warn]" not in checked.stderr, checked.stderr
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + SECONDS
        while True:
            assert process.poll() is None, (folder / "error.log").read_text()
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", ports.management), SECONDS).close()
                break
            assert time.monotonic() < deadline, "nginx does not listen"
            time.sleep(0.05)
        yield Proxy(ports, secrets.certificate)
    finally:
        process.terminate()
        process.wait(SECONDS)


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path) -> Iterator[Serving]:
    with started(tmp_path_factory.mktemp("serving"), tiny_checkpoint) as serving:
        yield serving


@pytest.fixture(scope="module")
def proxy(
    tmp_path_factory: pytest.TempPathFactory, secrets: Secrets, serving: Serving
) -> Iterator[Proxy]:
    folder = tmp_path_factory.mktemp("nginx")
    with proxied(folder, secrets, serving.ports.inference) as proxy:
        yield proxy


def check_error(told: dict[str, Any], code: str) -> None:
    assert told["error"].keys() == {"code", "message"}
    assert told["error"]["code"] == code
    assert told["error"]["message"]
    assert told["request_id"]


ROUTES = [
    "/predictions/captioner",
    "/predictions/captioner/1.0",
    "/explanations/captioner",
    "/explanations/captioner/1.0",
    "/v1/models/captioner:predict",
    "/v2/models/captioner/infer",
]


def test_captions_by_tls_with_a_password(proxy: Proxy, serving: Serving, render) -> None:
    photo = render()
    direct = requests.put(serving.url, data=photo, timeout=SECONDS).json()
    reply = proxy.caption(photo)
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["x-request-id"] == reply.json()["request_id"]
    assert reply.headers["server"] == "nginx"  # and no version
    told = reply.json()
    assert told | {"request_id": ""} == direct | {"request_id": ""}

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


def test_the_command_asks_through_it(proxy: Proxy, tmp_path: Path, render) -> None:
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


def test_a_load_balancer_may_ask_whether_it_is_up(proxy: Proxy) -> None:
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


def test_what_is_malformed_is_refused_in_the_captioners_form(proxy: Proxy) -> None:
    check_refusals(proxy.raw)
    # Plain HTTP to the port of TLS, and to that which leads there.
    to_https, to_http = ("127.0.0.1", proxy.https), ("127.0.0.1", proxy.ports.inference)
    check_refusals(lambda: socket.create_connection(to_https, SECONDS), 400, "a TLS handshake")
    check_refusals(lambda: socket.create_connection(to_http, SECONDS))


def test_conditions_are_no_matter(proxy: Proxy) -> None:
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
    told = proxy.ask("GET", "/").json()
    assert told["service"] == "captioner"
    assert ROUTES[0] in told["message"]
    for method in ("POST", "PUT", "DELETE"):
        reply = proxy.ask(method, "/")
        assert reply.status_code == 405
        check_error(reply.json(), "method_not_allowed")


def test_nothing_else_is_reached(proxy: Proxy, serving: Serving) -> None:
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
            status, told = proxy.as_sent(method, path, Content_Length="0")
            assert status == 404, (method, path)
            check_error(told, "not_found")


def test_only_the_methods_of_each_route(proxy: Proxy) -> None:
    refused = [(method, path) for path in ROUTES for method in ("GET", "DELETE", "OPTIONS")]
    for method, path in [*refused, ("POST", "/ping"), ("DELETE", "/ping")]:
        reply = proxy.ask(method, path)
        assert reply.status_code == 405, (method, path)
        check_error(reply.json(), "method_not_allowed")


def test_the_limit_of_a_body_is_the_servers(proxy: Proxy) -> None:
    most = 64 * 2**20
    status, told = proxy.as_sent("POST", ROUTES[0], Content_Length=str(most + 1))
    assert status == 413
    check_error(told, "too_large")
    assert "64 MiB" in told["error"]["message"]

    # Of as many bytes as are allowed the captioner is asked, which wants smaller photos.
    reply = proxy.caption(bytes(most))
    assert reply.status_code == 413
    check_error(reply.json(), "too_large")
    assert "32 MiB" in reply.json()["error"]["message"]


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


# With limits that a test can reach.


def test_too_many_requests(tmp_path: Path, secrets: Secrets, serving: Serving, render) -> None:
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


@contextmanager
def asking(proxy: Proxy) -> Iterator[socket.socket]:
    """A client that was told to go on with its photo, and sends only the beginning."""
    password = base64.b64encode(f"{NAME}:{PASSWORD}".encode()).decode()
    with proxy.raw() as connection:
        connection.sendall(
            b"POST /predictions/captioner HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"
            + f"Authorization: Basic {password}\r\nExpect: 100-continue\r\n\r\n".encode()
        )
        assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")
        connection.sendall(b"beginning")
        yield connection


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


# What a captioner gets to see, and what is said of one that does not answer.


def port_of(scripted: Any) -> int:
    return int(scripted.url.rpartition(":")[2])


def test_the_captioner_sees_the_request_but_not_the_password(
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


def test_the_token_of_a_captioner_that_wants_one(
    tmp_path: Path, secrets: Secrets, scripted
) -> None:
    scripted.answer = lambda asked: (200, {"status": "Healthy"})
    text = CONFIGURATION.read_text()
    (told,) = [line for line in text.splitlines() if "Bearer KEY" in line]
    change = ('    proxy_set_header Authorization "";', told.replace("# ", ""))
    with proxied(tmp_path, secrets, port_of(scripted), change) as proxy:
        assert proxy.caption(b"photo").ok
        assert proxy.ask("GET", "/ping", auth=None).ok
    assert [asked.headers["authorization"] for asked in scripted.asked] == ["Bearer KEY"] * 2


def test_a_captioner_that_is_down(
    tmp_path: Path, secrets: Secrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    with proxied(tmp_path, secrets, UNUSED) as proxy:
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
