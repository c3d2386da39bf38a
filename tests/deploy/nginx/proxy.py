"""A real nginx with the shipped configuration, and requests to it."""

from __future__ import annotations

import base64
import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from captioner.operations.ports import Ports
from captioner.paths import ROOT

FOLDER = ROOT / "deploy" / "nginx"
CONFIGURATION = FOLDER / "captioner.conf"
NAME, PASSWORD = "team", "correct horse"
SECONDS = 60.0  # for what comes at once, if it comes


def tool(name: str) -> str | None:
    """Return the path of a program, also of one for administrators."""
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")


NEEDS_NGINX = pytest.mark.skipif(
    not (tool("nginx") and tool("openssl")),
    reason="needs nginx and openssl: apt-get install nginx-light openssl",
)


@dataclass(frozen=True)
class Secrets:
    """A certificate of 127.0.0.1 and the password file."""

    certificate: Path
    key: Path
    passwords: Path


@dataclass
class Proxy:
    """A running nginx."""

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

    def send_raw(self, method: str, path: str, **headers: str) -> tuple[int, dict[str, Any]]:
        """Send a path that no client library changes, and no body; return status and answer."""
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
    """Run nginx until the block ends, with the shipped configuration and a server behind it.

    nginx reads no variables where the configuration names ports and files, so a copy is changed:
    its ports, its files, and the ``changes`` of a test, each a text and its replacement.
    """
    ports = Ports.find_free()
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


@contextmanager
def asking(proxy: Proxy) -> Iterator[socket.socket]:
    """Send the beginning of a photo, once nginx has asked for it by 100 Continue."""
    password = base64.b64encode(f"{NAME}:{PASSWORD}".encode()).decode()
    with proxy.raw() as connection:
        connection.sendall(
            b"POST /predictions/captioner HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"
            + f"Authorization: Basic {password}\r\nExpect: 100-continue\r\n\r\n".encode()
        )
        assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")
        connection.sendall(b"beginning")
        yield connection


def port_of(scripted: Any) -> int:
    """Return the port of the scripted server."""
    return int(scripted.url.rpartition(":")[2])


def check_error(reply: dict[str, Any], code: str) -> None:
    """Check that an error has the captioner's form."""
    assert reply["error"].keys() == {"code", "message"}
    assert reply["error"]["code"] == code
    assert reply["error"]["message"]
    assert reply["request_id"]


ROUTES = [
    "/predictions/captioner",
    "/predictions/captioner/1.0",
    "/explanations/captioner",
    "/explanations/captioner/1.0",
    "/v1/models/captioner:predict",
    "/v2/models/captioner/infer",
]
