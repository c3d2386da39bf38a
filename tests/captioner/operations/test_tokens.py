"""A server that wants tokens, and everything that asks it; key files that are none."""

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
from typing import Any

import pytest
import requests

from captioner.cli.main import main
from captioner.client import AsyncCaptionClient, BadRequest, CaptionClient
from captioner.operations.keys import Keys
from captioner.operations.package import package
from captioner.operations.torchserve import Server
from captioner.paths import ROOT
from model import Captioner
from tests.captioner.operations.test_serve import Serving, run, started

REFUSED = "Token Authorization failed"


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path) -> Iterator[Serving]:
    with started(tmp_path_factory.mktemp("serving"), tiny_checkpoint, "--tokens") as serving:
        yield serving


def key_file(serving: Serving) -> Path:
    return Server(serving.folder).key_file


def keys(serving: Serving) -> dict[str, str]:
    told = json.loads(key_file(serving).read_text())
    return {api: each["key"] for api, each in told.items()}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def of_deploy(serving: Serving) -> list[object]:
    return [
        *("--url", serving.inference, "--management", serving.management[: -len("/models")]),
        *("--model-store", serving.store),
    ]


def addresses(serving: Serving) -> list[object]:
    return of_deploy(serving)[:4]


def check_advised(done: subprocess.CompletedProcess[str]) -> None:
    """It is refused in one line, which says what to do."""
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("captioner: ")
    assert REFUSED in line
    assert "--key-file" in line


def test_only_who_has_the_key_is_answered(serving: Serving, render) -> None:
    photo = render()
    told = keys(serving)
    assert told.keys() == {"management", "inference", "API"}
    assert len(set(told.values())) == 3

    # Predictions are for the inference key.
    for headers in ({}, bearer("wrong"), bearer(told["management"]), bearer(told["API"])):
        reply = requests.post(serving.url, data=photo, headers=headers, timeout=60)
        assert reply.status_code == 400
        assert REFUSED in reply.json()["message"]
    reply = requests.post(serving.url, data=photo, headers=bearer(told["inference"]), timeout=60)
    (wanted,) = Captioner.load(serving.checkpoint).caption([photo])
    assert reply.json()["caption"] == wanted[0].text

    # Management is for its own.
    for headers in ({}, bearer("wrong"), bearer(told["inference"]), bearer(told["API"])):
        reply = requests.get(f"{serving.management}/captioner", headers=headers, timeout=60)
        assert reply.status_code == 400
        assert REFUSED in reply.json()["message"]
    reply = requests.get(serving.management, headers=bearer(told["management"]), timeout=60)
    assert reply.status_code == 200

    # What the README says of the rest.
    ping = f"{serving.inference}/ping"
    assert requests.get(ping, timeout=60).status_code == 400
    assert requests.get(ping, headers=bearer(told["inference"]), timeout=60).ok
    assert requests.get(f"http://127.0.0.1:{serving.ports.metrics}/metrics", timeout=60).ok


def test_the_keys_are_the_owners_for_a_week(serving: Serving) -> None:
    told = key_file(serving)
    assert told.stat().st_mode & 0o777 == 0o600
    written = told.stat().st_mtime
    for api in ("management", "inference"):
        end = json.loads(told.read_text())[api]["expiration time"]
        week = datetime.fromisoformat(end).timestamp() - written
        assert week == pytest.approx(timedelta(days=7).total_seconds(), abs=3600)
    # Neither what serve prints nor a log tells them.
    logs = [path for path in serving.folder.rglob("*.log") if path.is_file()]
    assert logs
    for text in (serving.printed, *(log.read_text(errors="replace") for log in logs)):
        assert not any(key in text for key in keys(serving).values())
    assert '{"caption": ' in serving.printed
    assert str(told) in serving.printed


def test_the_clients(serving: Serving, render, tmp_path: Path) -> None:
    photo, token = render(), keys(serving)["inference"]
    with CaptionClient(serving.inference, token=token) as client:
        caption = client.caption(photo).caption
    with CaptionClient(serving.inference) as client, pytest.raises(BadRequest, match=REFUSED):
        client.caption(photo)

    async def ask() -> str:
        async with AsyncCaptionClient(serving.inference, token=token) as client:
            return (await client.caption(photo)).caption

    assert asyncio.run(ask()) == caption

    path = tmp_path / "photo.jpg"
    path.write_bytes(photo)
    arguments = ["caption", path, "--server", serving.inference]
    done = run(*arguments, "--key-file", key_file(serving))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{path}: {caption} (")
    check_advised(run(*arguments))


def test_health(serving: Serving) -> None:
    done = run("health", *addresses(serving), "--key-file", key_file(serving))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("ready: captioner ")
    done = run("health", *addresses(serving))
    check_advised(done)
    assert "not ready: management: " in done.stderr


def test_versions_come_and_go(serving: Serving, tmp_path: Path) -> None:
    archive = tmp_path / "captioner.mar"
    package(serving.checkpoint, "2.0", archive)
    options, key = of_deploy(serving), ("--key-file", key_file(serving))
    for job in (["deploy", archive], ["versions"], ["rollback"]):
        check_advised(run(*job, *options))
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


def test_the_readmes_commands(serving: Serving, render, tmp_path: Path) -> None:
    """They ask with a key, and renew one; the old one is worth nothing then."""
    section = (ROOT / "README.md").read_text().split("### Who may call")[1].split("\n## ")[0]
    (block,) = [b for b in re.findall(r"```sh\n(.*?)```", section, re.DOTALL) if "--tokens" in b]
    start, *lines = block.splitlines()
    assert start.startswith("scripts/serve --tokens --detach")
    before = keys(serving)
    (tmp_path / "photo.jpg").write_bytes(render())
    (tmp_path / ".serve").symlink_to(serving.folder)
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "captioner"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m captioner "$@"\n')
    command.chmod(0o755)
    script = "\n".join(lines)
    for usual, port in ((8080, serving.ports.inference), (8081, serving.ports.management)):
        assert f"localhost:{usual}" in script
        script = script.replace(f"localhost:{usual}", f"127.0.0.1:{port}")
    script = script.replace("curl ", "curl -fsS -m 60 ")
    url, management = addresses(serving)[1], addresses(serving)[3]
    script = script.replace("captioner health", f"captioner health --url {url}")
    script = script.replace(
        "captioner versions", f"captioner versions --model-store {serving.store}"
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

    after = keys(serving)
    changed = {api for api in before if before[api] != after[api]}
    assert changed == {"management", "inference"}
    assert key_file(serving).stat().st_mode & 0o777 == 0o600
    reply = requests.post(
        serving.url, data=render(), headers=bearer(before["inference"]), timeout=60
    )
    assert reply.status_code == 400


def test_a_restart_has_new_keys(serving: Serving) -> None:
    """The last test of this server."""
    before = keys(serving)
    server = Server(serving.folder)
    server.stop()
    assert not server.key_file.exists()
    server.key_file.write_text("{}")  # as a server that was killed leaves one
    server.key_file.chmod(0o644)
    done = run(
        *("serve", "--detach", "--tokens", "--port", serving.ports.inference),
        *("--folder", serving.folder, "--model-store", serving.store),
    )
    assert done.returncode == 0, done.stderr
    assert not set(before.values()) & set(keys(serving).values())
    assert server.key_file.stat().st_mode & 0o777 == 0o600
    done = run("health", *addresses(serving), "--key-file", key_file(serving))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file or directory; a key file is the key_file.json that TorchServe writes"),
        ("", "lacks the keys of management and inference"),
        ("token", "lacks the keys"),
        ("[]", "lacks the keys"),
        ('{"management": {"key": "m"}}', "lacks the keys"),
        ('{"management": {"key": "m"}, "inference": {}}', "lacks the keys"),
        ('{"management": {"key": "m"}, "inference": {"key": ""}}', "lacks the keys"),
        ('{"management": {"key": "m"}, "inference": {"key": 7}}', "lacks the keys"),
        ('{"management": {"key": "m"}, "inference": {"key": "a\\nb"}}', "lacks the keys"),
    ],
)
@pytest.mark.parametrize("job", ["health", "versions", "caption"])
def test_a_key_file_that_is_none(
    scripted,
    job: str,
    content: str | None,
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "key_file.json"
    if content is not None:
        path.write_text(content)
    asks: dict[str, list[Any]] = {
        "health": ["health", "--url", scripted.url, "--management", scripted.url],
        "versions": ["versions", "--management", scripted.url, "--model-store", tmp_path],
        "caption": ["caption", tmp_path / "photo.jpg", "--server", scripted.url],
    }
    assert main([*map(str, asks[job]), "--key-file", str(path)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert str(path) in line
    assert message in line
    assert not scripted.asked


def test_a_key_file_without_a_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["caption", "photo.jpg", "--key-file", str(tmp_path / "key_file.json")]) == 1
    assert "name that with --server" in capsys.readouterr().err


def test_a_printed_key_is_no_key() -> None:
    assert "secret" not in repr(Keys("secret", "secret"))
