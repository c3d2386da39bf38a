"""nginx in front of a real server; every test module skips itself where there is no nginx."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.captioner.operations.servers import RunningServer, running_server
from tests.deploy.nginx.proxy import NAME, PASSWORD, Proxy, Secrets, proxied, tool


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


@pytest.fixture(scope="module")
def serving(
    tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path
) -> Iterator[RunningServer]:
    with running_server(tmp_path_factory.mktemp("serving"), tiny_checkpoint) as serving:
        yield serving


@pytest.fixture(scope="module")
def proxy(
    tmp_path_factory: pytest.TempPathFactory, secrets: Secrets, serving: RunningServer
) -> Iterator[Proxy]:
    folder = tmp_path_factory.mktemp("nginx")
    with proxied(folder, secrets, serving.ports.inference) as proxy:
        yield proxy
