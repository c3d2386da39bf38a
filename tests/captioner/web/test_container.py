"""The program of the image of the web server, by `docker run IMAGE ...` and by SageMaker."""

from __future__ import annotations

import base64
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from captioner.cli.main import command_parser
from captioner.paths import ROOT, SHIPPED
from captioner.web.container import run, web_arguments
from tests.captioner.web.fakes import wait_until
from tests.captioner.web.servers import SECONDS, patient
from tests.captioner.web.test_rolling import free_port


def parsed(arguments: list[str], model: Path) -> tuple[str, int, Path]:
    """Return where the web server listens, and what it serves."""
    command, *rest = web_arguments(arguments, model)
    assert command == "web"
    given = command_parser("web").parse_args(rest)
    return given.host, given.port, given.checkpoint


def test_the_arguments_are_those_of_the_web_server(tmp_path: Path) -> None:
    assert parsed([], tmp_path) == ("0.0.0.0", 8080, SHIPPED)
    checkpoint = ["--checkpoint", "/mnt/models", "--host", "127.0.0.1"]
    assert parsed(checkpoint, tmp_path) == ("127.0.0.1", 8080, Path("/mnt/models"))


def test_sagemakers_argument_serves_sagemakers_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SAGEMAKER_BIND_TO_PORT", raising=False)
    assert parsed(["serve"], tmp_path / "missing") == ("0.0.0.0", 8080, SHIPPED)
    assert parsed(["serve"], tmp_path) == ("0.0.0.0", 8080, SHIPPED)
    (tmp_path / "config.json").touch()
    assert parsed(["serve"], tmp_path) == ("0.0.0.0", 8080, tmp_path)
    monkeypatch.setenv("SAGEMAKER_BIND_TO_PORT", "8123")
    (tmp_path / "a.mar").touch()
    assert parsed(["serve"], tmp_path) == ("0.0.0.0", 8123, tmp_path / "a.mar")
    (tmp_path / "b.mar").touch()
    assert run(["serve"], tmp_path) == 1
    assert "several archives, a.mar, b.mar" in capsys.readouterr().err


def test_the_dockerfile_runs_it() -> None:
    target = (ROOT / "Dockerfile").read_text().split(" AS web\n")[1].split("\nFROM ")[0]
    entry = re.search(r"^ENTRYPOINT (.*)$", target, re.MULTILINE)
    assert entry
    assert entry[1] == '["tini", "--", "python", "-m", "captioner.web.container"]'
    assert "\nEXPOSE 8080\n" in target


PROGRAM = """
import sys
from pathlib import Path
from captioner.web.container import run
sys.exit(run(["serve", "--host", "127.0.0.1"], Path(sys.argv[1])))
"""


@pytest.mark.slow
def test_as_sagemaker_runs_it(
    tiny_checkpoint: Path, tmp_path: Path, render, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is healthy, invoked with a photo and with JSON, and ended by SIGTERM."""
    port = free_port()
    monkeypatch.setenv("SAGEMAKER_BIND_TO_PORT", str(port))
    url = f"http://127.0.0.1:{port}"
    with patient(tiny_checkpoint) as checkpoint:
        model = shutil.copytree(checkpoint, tmp_path / "model")  # as its tar is unpacked
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(model)], cwd=ROOT)

    def is_healthy() -> bool:
        try:
            return requests.get(f"{url}/ping", timeout=SECONDS).status_code == 200
        except requests.ConnectionError:
            return False

    try:
        wait_until(lambda: process.poll() is not None or is_healthy(), SECONDS)
        photo = render()
        sent = requests.post(
            f"{url}/invocations", photo, headers={"Content-Type": "image/jpeg"}, timeout=SECONDS
        )
        assert sent.status_code == 200
        encoded = {"image": {"b64": base64.b64encode(photo).decode()}}
        as_json = requests.post(f"{url}/invocations", json=encoded, timeout=SECONDS)
        assert as_json.json()["caption"] == sent.json()["caption"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0
    finally:
        process.kill()
        process.wait()
