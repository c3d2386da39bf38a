"""A server that asks for tokens, and everything that asks it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import requests

from captioner.client import AsyncCaptionClient, BadRequest, CaptionClient
from captioner.operations.package import package
from captioner.operations.torchserve import Server
from captioner.paths import ROOT
from model import Captioner
from tests.captioner.operations.servers import RunningServer, run, running_server

pytestmark = pytest.mark.slow

REFUSED = "Token Authorization failed"


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path
) -> Iterator[RunningServer]:
    with running_server(tmp_path_factory.mktemp("serving"), tiny_checkpoint, "--tokens") as server:
        yield server


def key_file(server: RunningServer) -> Path:
    return Server(server.folder).key_file


def keys(server: RunningServer) -> dict[str, str]:
    content = json.loads(key_file(server).read_text())
    return {api: each["key"] for api, each in content.items()}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def check_hint(done: subprocess.CompletedProcess[str]) -> None:
    """It is refused in one line, which says what to do."""
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("captioner: ")
    assert REFUSED in line
    assert "--key-file" in line


def test_only_who_has_the_key_is_answered(server: RunningServer, render) -> None:
    photo = render()
    own = keys(server)
    assert own.keys() == {"management", "inference", "API"}
    assert len(set(own.values())) == 3

    # Predictions are for the inference key.
    for headers in ({}, bearer("wrong"), bearer(own["management"]), bearer(own["API"])):
        reply = requests.post(server.url, data=photo, headers=headers, timeout=60)
        assert reply.status_code == 400
        assert REFUSED in reply.json()["message"]
    reply = requests.post(server.url, data=photo, headers=bearer(own["inference"]), timeout=60)
    (wanted,) = Captioner.load(server.checkpoint).caption([photo])
    assert reply.json()["caption"] == wanted[0].text

    # Management is for its own.
    for headers in ({}, bearer("wrong"), bearer(own["inference"]), bearer(own["API"])):
        reply = requests.get(f"{server.models}/captioner", headers=headers, timeout=60)
        assert reply.status_code == 400
        assert REFUSED in reply.json()["message"]
    reply = requests.get(server.models, headers=bearer(own["management"]), timeout=60)
    assert reply.status_code == 200

    # What docs/operate.md says of the rest.
    ping = f"{server.inference}/ping"
    assert requests.get(ping, timeout=60).status_code == 400
    assert requests.get(ping, headers=bearer(own["inference"]), timeout=60).ok
    assert requests.get(f"http://127.0.0.1:{server.ports.metrics}/metrics", timeout=60).ok


def test_the_keys_are_the_owners_for_a_week(server: RunningServer) -> None:
    path = key_file(server)
    assert path.stat().st_mode & 0o777 == 0o600
    written = path.stat().st_mtime
    for api in ("management", "inference"):
        end = json.loads(path.read_text())[api]["expiration time"]
        week = datetime.fromisoformat(end).timestamp() - written
        assert week == pytest.approx(timedelta(days=7).total_seconds(), abs=3600)
    # Neither what serve prints nor a log tells them.
    logs = [path for path in server.folder.rglob("*.log") if path.is_file()]
    assert logs
    for text in (server.printed, *(log.read_text(errors="replace") for log in logs)):
        assert not any(key in text for key in keys(server).values())
    assert '{"caption": ' in server.printed
    assert str(path) in server.printed


def test_the_clients(server: RunningServer, render, tmp_path: Path) -> None:
    photo, token = render(), keys(server)["inference"]
    with CaptionClient(server.inference, token=token) as client:
        caption = client.caption(photo).caption
    with CaptionClient(server.inference) as client, pytest.raises(BadRequest, match=REFUSED):
        client.caption(photo)

    async def ask() -> str:
        async with AsyncCaptionClient(server.inference, token=token) as client:
            return (await client.caption(photo)).caption

    assert asyncio.run(ask()) == caption

    path = tmp_path / "photo.jpg"
    path.write_bytes(photo)
    arguments = ["caption", path, "--server", server.inference]
    done = run(*arguments, "--key-file", key_file(server))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{path}: {caption} (")
    check_hint(run(*arguments))


def test_health(server: RunningServer) -> None:
    done = run("health", *server.addresses, "--key-file", key_file(server))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("ready: captioner ")
    done = run("health", *server.addresses)
    check_hint(done)
    assert "not ready: management, GET " in done.stderr


def test_versions_come_and_go(server: RunningServer, tmp_path: Path) -> None:
    archive = tmp_path / "captioner.mar"
    package(server.checkpoint, "2.0", archive)
    options, key = server.options, ("--key-file", key_file(server))
    for job in (["deploy", archive], ["versions"], ["rollback"]):
        check_hint(run(*job, *options))
    before = run("versions", *options, *key)
    assert [line.split()[:2] for line in before.stdout.splitlines()[1:]] == [["1.0", "default"]]

    # Golden photos are asked with the one key, management with the other.
    done = run("deploy", archive, *options, *key)
    assert done.returncode == 0, done.stderr
    after = run("versions", *options, *key)
    roles = [line.split()[:2] for line in after.stdout.splitlines()[1:]]
    assert roles == [["1.0", "rollback"], ["2.0", "default"]]
    done = run("rollback", *options, *key)
    assert done.stdout.startswith("version 1.0 is the default (2.0 is kept;")


def test_the_commands_of_the_document(server: RunningServer, render, tmp_path: Path) -> None:
    """They ask with a key, and renew one; the old one is worth nothing then."""
    section = (ROOT / "docs" / "operate.md").read_text().split("\n### Tokens")[1].split("\n### ")[0]
    (block,) = [b for b in re.findall(r"```sh\n(.*?)```", section, re.DOTALL) if "--tokens" in b]
    start, *lines = block.splitlines()
    assert start.startswith("scripts/serve --tokens --detach")
    before = keys(server)
    (tmp_path / "photo.jpg").write_bytes(render())
    (tmp_path / ".serve").symlink_to(server.folder)
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "captioner"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m captioner "$@"\n')
    command.chmod(0o755)
    script = "\n".join(lines)
    for usual, port in ((8080, server.ports.inference), (8081, server.ports.management)):
        assert f"localhost:{usual}" in script
        script = script.replace(f"localhost:{usual}", f"127.0.0.1:{port}")
    script = script.replace("curl ", "curl -fsS -m 60 ")
    url, management = server.inference, server.management
    script = script.replace("captioner health", f"captioner health --url {url}")
    script = script.replace(
        "captioner versions", f"captioner versions --model-store {server.store}"
    )
    script = re.sub(r"(captioner (health|versions)) ", rf"\1 --management {management} ", script)
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PATH": f"{tmp_path}/bin:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert '{"caption": ' in done.stdout
    assert "ready: captioner " in done.stdout

    after = keys(server)
    changed = {api for api in before if before[api] != after[api]}
    assert changed == {"management", "inference"}
    assert key_file(server).stat().st_mode & 0o777 == 0o600
    reply = requests.post(
        server.url, data=render(), headers=bearer(before["inference"]), timeout=60
    )
    assert reply.status_code == 400


def test_a_restart_has_new_keys(server: RunningServer) -> None:
    """The last test of this server."""
    before, path = keys(server), key_file(server)
    server.stop()
    assert not path.exists()
    path.write_text("{}")  # as a server that was killed leaves one
    path.chmod(0o644)
    server.start("--tokens")
    assert not set(before.values()) & set(keys(server).values())
    assert path.stat().st_mode & 0o777 == 0o600
    done = run("health", *server.addresses, "--key-file", key_file(server))
    assert done.returncode == 0, done.stderr
