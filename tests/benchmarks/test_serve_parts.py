"""The parts of `captioner bench serve` on servers with scripted workers; no figure means much."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import psutil
import pytest

from benchmarks import first_caption, serve, serve_faults, serve_setup, slow_senders
from benchmarks.known_photos import KnownPhotos
from benchmarks.load import OK, REFUSED, Load, Target
from benchmarks.report import Report
from benchmarks.serve import latency, throughput
from benchmarks.serve_faults import stopped_under_load
from benchmarks.serve_setup import Setup, Sizes
from benchmarks.server import SERVER_TYPES, BenchmarkServer
from captioner.cli.main import command_parser
from captioner.web.settings import Limits
from model import DecodingOptions
from tests.captioner.web.fakes import SECONDS, RunningApp, running_app

PHOTOS = KnownPhotos([b"one", b"two"], ["one", "two"], 0, rate=1.0)
CLIENTS = 2
SIZES = Sizes(alone=2, between=0.05, senders=3, slow=0.01)


class Scripted(BenchmarkServer):
    """A server that runs in this process."""

    name = "scripted"

    def __init__(self, app: RunningApp, name: str) -> None:
        self.app, self.name = app, name  # type: ignore[misc]

    @property
    def port(self) -> int:
        return self.app.port

    @classmethod
    def command(cls, checkpoint: Path, port: int, folder: Path) -> list[object]:
        return [port]

    def _start(self, photo: bytes) -> None:
        pass

    def stop(self) -> int:
        self.app.stop()
        self.app.thread.join(SECONDS)
        return 0

    def process(self) -> psutil.Process:
        return psutil.Process()

    worker = process


@contextlib.contextmanager
def scripted(monkeypatch: pytest.MonkeyPatch, name: str) -> Iterator[Setup]:
    with running_app(monkeypatch, Limits(silence=4.0)) as app:
        captioner: Any = SimpleNamespace(caption=lambda photos, decoding: None)
        server = Scripted(app, name)
        server.checkpoint = Path("checkpoint")
        load = Load(Target(app.port, PHOTOS.photos))
        yield Setup(server, load, captioner, DecodingOptions(), PHOTOS, SIZES, 1, 1)


@pytest.fixture
def setup(monkeypatch: pytest.MonkeyPatch) -> Iterator[Setup]:
    """Return a server that few clients ask."""
    for module in (serve, slow_senders):
        monkeypatch.setattr(module, "CLIENTS", (1, CLIENTS))
    for module in (serve_setup, serve_faults):
        monkeypatch.setattr(module, "MAX_CLIENTS", CLIENTS)
    with scripted(monkeypatch, "ours") as ours:
        yield ours


def measured(report: Report) -> dict[str, float]:
    return {f"{line.name}; {line.unit}": line.measured for line in report.lines}


def test_a_server_is_compared_with_the_one_beside_it(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scripted(monkeypatch, "theirs") as theirs:
        for part, count in ((throughput, 2), (latency, 1)):
            alone = measured(part(setup))
            beside = measured(part(Setup(**(vars(setup) | {"reference": theirs}))))
            assert len(alone) == count
            assert len(beside) == 2 * count
            compared = [name for name in beside if name.endswith("of theirs")]
            assert set(beside) - set(compared) == set(alone)
            assert all(beside[name] > 0 for name in compared)
        assert {reply.status for reply in theirs.load.replies} == {OK}


def test_a_stop_loses_nothing_that_was_sent(setup: Setup) -> None:
    report = stopped_under_load(setup)
    assert [line.measured for line in report.lines] == [0, 0]
    assert report.figures["stop_statuses"].keys() == {OK, REFUSED}
    sent = report.figures["stop_statuses"][OK]
    assert report.lines[0].unit == f"of {sent} requests"
    assert sent >= CLIENTS


@pytest.mark.slow
def test_slow_senders_beside_others(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow_senders, "PAUSE", 0.01)
    report = slow_senders.slow_senders(setup)
    dropped, lost, _, _ = report.lines
    assert 0 < dropped.measured < math.inf
    assert len(report.figures["seconds_until_dropped"]) == SIZES.senders
    assert lost.measured == 0


def test_the_command_is_timed_until_its_first_caption(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[tuple[object, ...]] = []

    class Command:
        def __init__(self, arguments: list[object], log: Path) -> None:
            self.port = cast(int, arguments[0])

        def wait_for_caption(self, url: str, photo: bytes) -> None:
            done.append((url, photo))

        def stop(self) -> None:
            done.append((self.port, "stopped"))

    monkeypatch.setattr(first_caption, "ServedCommand", Command)
    seconds = first_caption.seconds_to_first_caption(setup.server, b"one")
    (url, photo), (port, _) = done
    assert url == f"http://127.0.0.1:{port}/predictions/captioner"
    assert photo == b"one"
    assert seconds > 0


@pytest.mark.parametrize("name", SERVER_TYPES)
def test_commands_have_the_arguments_of_the_command_line(name: str, tmp_path: Path) -> None:
    command, *rest = map(str, SERVER_TYPES[name].command(tmp_path / "mine", 8000, tmp_path))
    arguments = command_parser(command).parse_args(rest)
    assert (arguments.checkpoint, arguments.port) == (tmp_path / "mine", 8000)
