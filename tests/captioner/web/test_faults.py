"""Real workers that are killed, and real servers that are stopped or cannot start."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import requests

from captioner.operations.package import package
from captioner.paths import ROOT
from captioner.web.run import listen
from tests.captioner.operations.load import Load
from tests.captioner.web.fakes import wait_until
from tests.captioner.web.servers import SECONDS, START_SECONDS, RunningWeb, running_web

pytestmark = pytest.mark.slow


def is_healthy(web: RunningWeb) -> bool:
    """Whether all workers have loaded."""
    reply = requests.get(f"{web.url}/ping", timeout=SECONDS)
    return bool(reply.json()["status"] == "Healthy")


def wait_for_answers(load: Load, more: int) -> None:
    wanted = len(load.answers) + more
    wait_until(lambda: len(load.answers) >= wanted or bool(load.faults))


def captions_of(web: RunningWeb, render) -> tuple[bytes, str]:
    photo = render()
    reply = requests.put(web.predictions, data=photo, timeout=SECONDS)
    return photo, str(reply.json()["caption"])


def test_a_killed_worker_costs_no_request(tiny_checkpoint: Path, render) -> None:
    with running_web(tiny_checkpoint, "--workers", 2) as web:
        wait_until(lambda: is_healthy(web), START_SECONDS)
        photo, caption = captions_of(web, render)
        with Load(web.predictions, photo) as load:
            wait_for_answers(load, 20)
            killed, other = web.workers
            killed.kill()
            wait_for_answers(load, 20)
        assert load.faults == []
        assert set(load.answers) == {(200, "1.0", caption)}
        wait_until(lambda: is_healthy(web), START_SECONDS)
        pids = {worker.pid for worker in web.workers}
        assert other.pid in pids
        assert killed.pid not in pids


def test_sigterm_under_load_loses_nothing(tiny_checkpoint: Path, render) -> None:
    """Every request is answered, or was sent when nothing listened any more."""
    with running_web(tiny_checkpoint) as web:
        photo, caption = captions_of(web, render)
        workers = web.workers
        with Load(web.predictions, photo, clients=8) as load:
            wait_for_answers(load, 50)
            web.process.send_signal(signal.SIGTERM)
            assert web.process.wait(SECONDS) == 0
            wait_until(lambda: bool(load.faults))
        assert set(load.answers) == {(200, "1.0", caption)}
        assert [str(fault) for fault in load.faults if "refused" not in str(fault)] == []
        assert not [worker for worker in workers if worker.is_running()]
        assert web.logged().endswith("stopped\n")


def test_workers_end_with_a_server_that_is_killed(tiny_checkpoint: Path) -> None:
    with running_web(tiny_checkpoint) as web:
        workers = web.workers
        assert workers
        web.process.kill()
        _, alive = psutil.wait_procs(workers, SECONDS)
        assert not alive


def test_an_archive_is_served_as_its_version(tiny_checkpoint: Path, tmp_path: Path, render) -> None:
    archive = tmp_path / "captioner.mar"
    package(tiny_checkpoint, "3.1", archive)
    with running_web(archive) as web:
        reply = requests.put(f"{web.predictions}/3.1", data=render(), timeout=SECONDS)
        assert reply.json()["model"]["version"] == "3.1"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_it_loads(tiny_checkpoint: Path, tmp_path: Path, number: int) -> None:
    """Nothing is left behind: no worker, and no unpacked archive."""
    archive = tmp_path / "captioner.mar"
    package(tiny_checkpoint, "1.0", archive)
    (tmp_path / "temporary").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "captioner", "web", "--checkpoint", str(archive), "--port", "0"],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(tmp_path / "temporary")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    server = psutil.Process(process.pid)
    wait_until(lambda: bool(server.children()) or process.poll() is not None, START_SECONDS)
    workers = server.children()
    process.send_signal(number)
    printed, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == {signal.SIGTERM: 0, signal.SIGINT: 130}[signal.Signals(number)]
    assert "Traceback" not in printed
    assert list((tmp_path / "temporary").iterdir()) == []
    _, alive = psutil.wait_procs(workers, SECONDS)
    assert not alive


def fails(*options: object) -> str:
    """Run the command, which must fail, and return its error, which must be one line."""
    done = subprocess.run(
        [sys.executable, "-m", "captioner", "web", *map(str, options)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert (done.returncode, done.stdout) == (1, "")
    *_, line = done.stderr.splitlines()
    assert line.startswith("captioner: ")
    return line


def test_what_cannot_be_served_is_named(tiny_checkpoint: Path, tmp_path: Path) -> None:
    assert "it lacks model.safetensors" in fails("--checkpoint", tmp_path)
    assert "workers is 0" in fails("--workers", 0)
    assert "version is 'x'" in fails("--version", "x")
    damaged = tmp_path / "damaged"
    shutil.copytree(tiny_checkpoint, damaged)
    (damaged / "config.json").write_text("{}")
    line = fails("--checkpoint", damaged, "--port", 0)
    assert str(damaged / "config.json") in line
    with listen("127.0.0.1", 0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        assert f"port {port} of 127.0.0.1 cannot be used" in fails("--port", port)
