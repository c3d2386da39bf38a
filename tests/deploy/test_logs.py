"""The log file of each line of TorchServe; its worker is a script that only prints."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from captioner.operations.frontend import java_options
from captioner.operations.package import package
from captioner.operations.ports import Ports
from captioner.operations.record import RecordedVersion, StoreRecord
from captioner.operations.store import UNVERSIONED_ARCHIVE, Store
from captioner.operations.torchserve import Server
from captioner.paths import ROOT

# The server outlives the object that started it.
pytestmark = pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")

SECONDS = 60.0
FILES = {"requests.log", "access_log.log", "model_log.log", "ts_log.log"}
# As a form it is malformed, and what TorchServe says of that quotes it.
PHOTO = b"\xff\xd8JFIF of a photo%zz=secret&" + bytes(range(128, 256))

WORKER = """#!/bin/sh
echo 'captioner ready'
echo 'Backend received inference at: 1'
echo 'request {"request_id": "7"}'
echo '[METRICS]captioner_requests_total.Count:1|#Outcome:ok,Version:1.0,ModelName:captioner,Level:Model|#type:COUNTER|#hostname:vm,1'
echo 'Traceback of a worker' >&2
i=0
while [ "$i" -lt "$SPOKEN" ]; do
    i=$((i + 1))
    echo "request $i $PADDING"
    echo "said $i $PADDING"
done
echo 'that is all'
exec sleep 600
"""  # noqa: E501


def start(
    server: Server, store: Store, ports: Ports, more: Mapping[str, str] | None = None
) -> None:
    java = server.check_can_start(ports)
    with server.lock(store) as lock:
        server.start(java, store, ports, lock, overrides=more)


@contextmanager
def speaking(
    folder: Path,
    checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
    lines: int = 0,
    configuration: Path = ROOT / "deploy" / "log4j2.xml",
) -> Iterator[tuple[Server, Ports]]:
    """Run TorchServe until the block ends, once its worker has printed the given lines."""
    store, ports, server = Store(folder / "store"), Ports.find_free(), Server(folder / "run")
    digest = package(checkpoint, "1.0", store.folder / UNVERSIONED_ARCHIVE)
    store.write_record(
        StoreRecord("1.0", versions={"1.0": RecordedVersion(UNVERSIONED_ARCHIVE, digest)})
    )
    worker = folder / "worker"
    worker.write_text(WORKER)
    worker.chmod(0o755)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", str(worker))
        more = {"SPOKEN": str(lines), "PADDING": "x" * 1000, "CAPTIONER_LOG_SIZE": "10 KB"}
        more["LOG4J_CONFIGURATION_FILE"] = str(configuration)
        start(server, store, ports, more)
    try:
        to_files = configuration.parent.name == "deploy"
        wait_for(server, "model_log.log" if to_files else "server.log", "that is all")
        wait_for(server, "server.log", "Model server started.")
        yield server, ports
    finally:
        server.stop()


def wait_for(server: Server, name: str, text: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not ((server.logs / name).exists() and text in (server.logs / name).read_text()):
        assert server.process(), server.log.read_text()
        assert time.monotonic() < deadline, name
        time.sleep(0.1)


def read_all(server: Server) -> dict[str, str]:
    return {path.name: path.read_text() for path in server.logs.iterdir()}


def ask_badly(ports: Ports) -> None:
    """Send a photo as a form, as ``curl --data-binary`` does."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    url = f"http://127.0.0.1:{ports.inference}/predictions/captioner"
    assert requests.post(url, data=PHOTO, headers=form, timeout=20).status_code == 500


@pytest.mark.slow
def test_each_line_has_its_file_and_a_photo_is_in_none(
    tmp_path: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with speaking(tmp_path, tiny_checkpoint, monkeypatch) as (server, ports):
        ask_badly(ports)
        before = server.log.stat().st_size
        for _ in range(20):
            assert requests.get(f"http://127.0.0.1:{ports.inference}/ping", timeout=SECONDS).ok
        assert server.log.stat().st_size == before  # this file is not rotated
    files = read_all(server)
    assert files.keys() == FILES | {"server.log"}
    assert files["requests.log"].endswith(' request {"request_id": "7"}\n')
    assert files["requests.log"].count("\n") == 1
    assert files["access_log.log"].count('"GET /ping HTTP/1.1" 200 ') == 20
    said = [line.partition(" - ")[2] for line in files["model_log.log"].splitlines()]
    assert sorted(said) == ["Traceback of a worker", "captioner ready", "that is all"]
    frontend = files["ts_log.log"]
    assert frontend.count("Model captioner loaded.\n") == 1  # and not twice
    for noise in ("DEBUG", "METRICS"):
        assert noise not in frontend
    assert "ErrorDataDecoderException\n\tat " in frontend
    assert "\nCaused by: java.lang.IllegalArgumentException\n\t" in frontend
    for name, text in files.items():
        assert "JFIF" not in text, name
        assert "of a photo" not in text, name


@pytest.mark.slow
def test_logs_are_rotated(
    tmp_path: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with speaking(tmp_path, tiny_checkpoint, monkeypatch, 300) as (server, ports):
        for _ in range(50):
            ask_badly(ports)
    files = read_all(server)
    del files["server.log"]
    many = {"requests.log", "model_log.log", "ts_log.log"}
    assert files.keys() == FILES | {f"{name}.{i}" for name in many for i in range(1, 6)}
    assert all(len(text) < 30_000 for text in files.values())
    for name, last in (("requests.log", "request 300 "), ("model_log.log", "said 300 ")):
        assert last in files[f"{name}.1"] + files[name]  # the newest lines are kept


@pytest.mark.slow
def test_the_output_of_the_container_has_everything_but_photos(
    tmp_path: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = ROOT / "deploy" / "container" / "log4j2.xml"
    with speaking(tmp_path, tiny_checkpoint, monkeypatch, configuration=own) as (server, ports):
        ask_badly(ports)
    files = read_all(server)
    assert files.keys() == {"server.log"}  # here the process's output goes to this file
    printed = files["server.log"]
    assert printed.count(' request {"request_id": "7"}\n') == 1
    assert printed.count('"POST /predictions/captioner HTTP/1.1" 500 ') == 1
    assert "Traceback of a worker" in printed
    assert "ErrorDataDecoderException\n\tat " in printed
    for text in ("JFIF", "of a photo", "METRICS", "Backend received", "DEBUG"):
        assert text not in printed


@pytest.mark.slow
def test_a_failed_start_quotes_the_logs(
    tmp_path: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log of an earlier start is not quoted."""
    server = Server(tmp_path / "run")
    server.logs.mkdir(parents=True)
    (server.logs / "model_log.log").write_text("OldError: of yesterday\n")
    store, ports = Store(tmp_path / "store"), Ports.find_free()
    digest = package(tiny_checkpoint, "1.0", store.folder / UNVERSIONED_ARCHIVE)
    store.write_record(
        StoreRecord("1.0", versions={"1.0": RecordedVersion(UNVERSIONED_ARCHIVE, digest)})
    )
    worker = tmp_path / "worker"
    worker.write_text("#!/bin/sh\necho 'ImportError: no module named torch'; exit 1\n")
    worker.chmod(0o755)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", str(worker))
        start(server, store, ports)
    try:
        wait_for(server, "model_log.log", "ImportError")
        with pytest.raises(RuntimeError) as raised:
            server.wait_for_caption(f"http://127.0.0.1:{ports.inference}/x", b"", 0.0)
    finally:
        server.stop()
    message = str(raised.value)
    assert f"Its logs, in {server.logs}, say: " in message
    assert "ImportError: no module named torch" in message
    assert "OldError" not in message


@pytest.mark.slow
def test_a_log_configuration_of_the_user_is_used(
    tmp_path: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own.xml"
    own.write_text(
        '<Configuration><Appenders><File name="f" fileName="${env:LOG_LOCATION}/own.log"/>'
        '</Appenders><Loggers><Root level="INFO"><AppenderRef ref="f"/></Root></Loggers>'
        "</Configuration>"
    )
    monkeypatch.setenv("LOG4J_CONFIGURATION_FILE", str(own))
    server, ports, store = Server(tmp_path / "run"), Ports.find_free(), Store(tmp_path / "store")
    digest = package(tiny_checkpoint, "1.0", store.folder / UNVERSIONED_ARCHIVE)
    store.write_record(
        StoreRecord("1.0", versions={"1.0": RecordedVersion(UNVERSIONED_ARCHIVE, digest)})
    )
    start(server, store, ports)
    try:
        wait_for(server, "own.log", "")
    finally:
        server.stop()
    assert {path.name for path in server.logs.iterdir()} == {"own.log", "server.log"}


def test_java_options_are_read_from_the_configuration() -> None:
    assert java_options("a=b\nvmargs=-Xmx1g  -XX:X=1\n#vmargs=-no\n") == ["-Xmx1g", "-XX:X=1"]
    assert java_options("a=b\n") == []
