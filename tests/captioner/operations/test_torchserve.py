"""A server is found and stopped, whatever happens while it starts; a script plays TorchServe."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from captioner.operations import server_state, torchserve
from captioner.operations.package import package
from captioner.operations.ports import Ports
from captioner.operations.serve import ServeOptions, serve
from captioner.operations.store import SERVER_LOCK, UNVERSIONED_ARCHIVE, Store
from captioner.operations.torchserve import Server
from captioner.paths import ROOT
from model.files import is_locked, write_whole

# Writes its arguments and its process id into the server's folder, and runs until it is stopped.
JAVA = """#!/bin/sh
printf '%s\\n' "$@" > java.arguments
echo $$ > java.pid
exec sleep 600
"""

# Starts a server, and is killed where its state would be written.
KILLED = """
import os, signal, sys
from pathlib import Path
from captioner.operations import server_state, torchserve
from captioner.operations.store import Store
from captioner.operations.ports import Ports
from captioner.operations.torchserve import Server

def die(path, content):
    if path.name == "server.json":
        os.kill(os.getpid(), signal.SIGKILL)
    real(path, content)

real, server_state.write_whole = server_state.write_whole, die
java, folder, store = map(Path, sys.argv[1:])
server = Server(folder)
with server.lock(Store(store)) as lock:
    server.start(java, Store(store), Ports.find_free(), lock)
"""


@pytest.fixture(autouse=True, scope="module")
def torchserve_imported() -> None:
    """Its package leaves a file open, and Python would warn of that."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importlib.import_module("ts")


@pytest.fixture(autouse=True)
def child_that_outlives_us(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python would warn of a child that nobody waits for; a server is meant to be one."""
    monkeypatch.setattr(subprocess.Popen, "__del__", lambda self: None)


@pytest.fixture
def java(tmp_path: Path) -> Path:
    path = tmp_path / "java"
    path.write_text(JAVA)
    path.chmod(0o755)
    return path


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path) -> bytes:
    path = tmp_path_factory.mktemp("archive") / UNVERSIONED_ARCHIVE
    package(tiny_checkpoint, "1.0", path)
    return path.read_bytes()


@pytest.fixture
def store(tmp_path: Path, archive: bytes) -> Store:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / UNVERSIONED_ARCHIVE).write_bytes(archive)
    return Store(tmp_path / "store")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "run")
    try:
        yield server
    finally:
        server.stop()
        if (pid := java_of(server)) and psutil.pid_exists(pid):
            os.kill(pid, signal.SIGKILL)


def java_of(server: Server) -> int | None:
    path = server.folder / "java.pid"
    return int(path.read_text()) if path.exists() and path.read_text() else None


def start(server: Server, java: Path, store: Store) -> psutil.Process:
    """Start it; returns once Java runs."""
    with server.lock(store) as lock:
        server.start(java, store, Ports.find_free(), lock)
    process = server.process()
    assert process
    while java_of(server) != process.pid:
        assert server.process()
        time.sleep(0.01)
    return process


def temp_of(server: Server) -> Path:
    return Path(json.loads((server.folder / "server.json").read_text())["temp"])


def test_the_folder_may_be_relative(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, java: Path, store: Store
) -> None:
    """The server runs in that folder, where a path relative to ours would lead elsewhere."""
    monkeypatch.chdir(tmp_path)
    server = Server(Path("run"))
    try:
        process = start(server, java, store)
        arguments = (server.folder / "java.arguments").read_text().splitlines()
        config = Path(process.cwd(), arguments[arguments.index("-f") + 1])
        assert config.samefile(server.folder / "config.properties")
        assert Path(process.cwd(), process.environ()["LOG_LOCATION"]).samefile(server.logs)
    finally:
        server.stop()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_as_the_server_is_started_stops_it(
    server: Server,
    java: Path,
    store: Store,
    number: signal.Signals,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A signal comes before the state is written, and another one after."""

    def interrupted(path: Path, content: bytes) -> None:
        if path.name == "server.json":
            signal.raise_signal(number)
        write_whole(path, content)
        if path.name == "server.json":
            signal.raise_signal(number)

    monkeypatch.setattr(server_state, "write_whole", interrupted)
    monkeypatch.setattr(torchserve, "find_java", lambda: java)
    options = ServeOptions(model_store=store.folder, port=Ports.find_free().inference, detach=True)
    serve(server, options)
    assert server.process() is None
    pid = java_of(server)
    assert pid is None or not psutil.pid_exists(pid)
    assert not is_locked(store.folder / SERVER_LOCK)
    assert server.stop() is False


def test_a_kill_before_the_state_is_written_leaves_no_server(
    server: Server, java: Path, store: Store
) -> None:
    command = [sys.executable, "-c", KILLED, java, server.folder, store.folder]
    assert subprocess.run(command, cwd=ROOT).returncode == -signal.SIGKILL
    while is_locked(store.folder / SERVER_LOCK):  # what would have become the server ends
        time.sleep(0.01)
    assert java_of(server) is None
    assert start(server, java, store)


def test_a_step_of_the_clock_changes_nothing(
    server: Server, java: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, temp = start(server, java, store), temp_of(server)
    real = psutil.Process.create_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: real(self) + 3600)
    assert server.process() == process
    with pytest.raises(ValueError, match="already serving"), server.lock(store):
        pass
    assert server.stop() is True
    assert not process.is_running()
    assert not temp.exists()


def test_a_server_of_an_earlier_release_is_found(server: Server, java: Path, store: Store) -> None:
    process = start(server, java, store)
    state = {"pid": process.pid, "created": process.create_time(), "temp": str(temp_of(server))}
    (server.folder / "server.json").write_text(json.dumps(state))
    assert server.process() == process


def test_what_a_killed_server_left_goes_with_the_next_start(
    server: Server, java: Path, store: Store
) -> None:
    process, temp = start(server, java, store), temp_of(server)
    (temp / "unpacked").write_bytes(b"large")
    process.kill()
    psutil.wait_procs([process])
    start(server, java, store)
    assert not temp.exists()
    assert temp_of(server).exists()


def test_two_servers_share_neither_folder_nor_store(
    server: Server, java: Path, store: Store, tmp_path: Path, archive: bytes
) -> None:
    other = Store(tmp_path / "other")
    other.folder.mkdir()
    (other.folder / UNVERSIONED_ARCHIVE).write_bytes(archive)
    with (
        server.lock(store),
        pytest.raises(ValueError, match="being started from"),
        Server(server.folder).lock(other),
    ):
        pass
    process = start(server, java, store)
    elsewhere = Server(tmp_path / "elsewhere")
    match = f"process {process.pid} serves from {store.folder}; stop it with .* {server.folder}"
    with pytest.raises(ValueError, match=match), elsewhere.lock(store):
        pass
    assert not elsewhere.folder.exists()
    process.kill()  # the lock goes with the server
    psutil.wait_procs([process])
    with elsewhere.lock(store):
        pass


def test_a_proxy_of_the_environment_is_not_asked(
    server: Server, java: Path, store: Store, scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(server, java, store)
    monkeypatch.setenv("HTTP_PROXY", scripted.url)
    monkeypatch.setenv("http_proxy", scripted.url)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    scripted.answer = lambda asked: (200, {"caption": "a dog"})
    server.wait_for_caption(f"{scripted.url}/predictions", b"photo", 30.0)
    assert [asked.path for asked in scripted.asked] == ["/predictions"]  # a proxy gets it whole
