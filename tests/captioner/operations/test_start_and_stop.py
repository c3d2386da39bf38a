"""A server that is started and stopped by the command leaves nothing behind."""

from __future__ import annotations

import json
from pathlib import Path

import psutil
import pytest
import requests

from captioner.operations.ports import Ports
from captioner.operations.store import SERVER_LOCK
from captioner.operations.torchserve import Server
from captioner.paths import ROOT
from tests.captioner.operations.servers import run, running_server

pytestmark = pytest.mark.slow


def test_stopped_means_that_nothing_is_left(tmp_path: Path, tiny_checkpoint: Path, render) -> None:
    with running_server(tmp_path, tiny_checkpoint) as server:
        # A second start is refused and harms nothing.
        again = run("serve", "--folder", server.folder, "--port", server.ports.inference)
        assert again.returncode == 1
        assert "already serving" in again.stderr
        other = server.folder / "x"
        elsewhere = run("serve", "--folder", other, "--port", server.ports.inference)
        assert elsewhere.returncode == 1
        assert f"port {server.ports.inference} is in use" in elsewhere.stderr
        assert requests.post(server.url, data=render(), timeout=60).ok

        # So is one that would replace the archive which this one serves.
        before = {path.name: path.read_bytes() for path in server.store.iterdir()}
        done = run(
            *("serve", "--checkpoint", ROOT / "checkpoints" / "flickr8k", "--folder", other),
            *("--port", Ports.find_free().inference, "--model-store", server.store),
        )
        assert done.returncode == 1
        assert f"stop it with scripts/serve --stop --folder {server.folder}" in done.stderr
        assert {path.name: path.read_bytes() for path in server.store.iterdir()} == before
        assert not other.exists()
        nothing = run("serve", "--stop", "--folder", other, "--model-store", server.store)
        assert nothing.stdout.startswith("nothing was running\nbut process ")

        frontend = Server(server.folder).process()
        assert frontend is not None
        everyone = [frontend, *frontend.children(recursive=True)]
        assert len(everyone) >= 2  # a worker at least
        lock = str(server.store / SERVER_LOCK)
        holders = [p for p in everyone if lock in {each.path for each in p.open_files()}]
        assert holders == [frontend]  # a worker that outlives it holds nothing
        temp = Path(json.loads((server.folder / "server.json").read_text())["temp"])
        stopped = run("serve", "--stop", "--folder", server.folder)
        assert stopped.stdout == "stopped\n"
        assert not any(psutil.pid_exists(process.pid) for process in everyone)
        assert not temp.exists()
        assert not (server.folder / "server.json").exists()
        server.ports.check_free()
        again = run("serve", "--stop", "--folder", server.folder)
        assert again.stdout == "nothing was running\n"


def test_a_checkpoint_that_cannot_be_loaded_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    options = ["--folder", tmp_path / "run", "--model-store", tmp_path / "store"]
    done = run(
        "serve", "--checkpoint", tmp_path / "empty", "--port", Ports.find_free().inference, *options
    )
    assert done.returncode == 1
    assert "is no checkpoint folder" in done.stderr
    assert not (tmp_path / "store").exists()
    assert not (tmp_path / "run").exists()


def test_a_temporary_folder_that_is_too_deep_for_sockets_is_named(
    tmp_path: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("t" * (100 - len(str(tmp_path))))
    deep.mkdir()
    monkeypatch.setenv("TMPDIR", str(deep))
    options = ["--folder", tmp_path / "run", "--port", Ports.find_free().inference]
    done = run("serve", "--checkpoint", tiny_checkpoint, *options)
    assert done.returncode == 1
    assert f"TorchServe's sockets cannot lie in {deep}: a path of more than" in done.stderr
    assert "TMPDIR" in done.stderr
    assert not list(deep.iterdir())
    assert not Server(tmp_path / "run").process()


def test_a_process_that_took_over_the_pid_is_not_ours(tmp_path: Path) -> None:
    state = {"pid": psutil.Process().pid, "created": 1.0, "temp": str(tmp_path / "t")}
    (tmp_path / "server.json").write_text(json.dumps(state))
    server = Server(tmp_path)
    assert server.process() is None
    assert server.stop() is False
    assert not (tmp_path / "server.json").exists()
