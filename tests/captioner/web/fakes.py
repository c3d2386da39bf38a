"""A server of the web app with scripted workers: no process starts, nothing is captioned."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from captioner.web.app import create_app
from captioner.web.messages import BatchAnswered, BatchFailed, Observation, Question, WorkerTask
from captioner.web.models import Models
from captioner.web.run import listen
from captioner.web.server import Server
from captioner.web.settings import Computing, Limits
from captioner.web.versions import ServedVersion
from captioner.web.worker_process import WorkerDied, WorkerProcess
from handler.replies import Reply, to_json

SECONDS = 180.0  # in which what must happen happens
LABELS = ("1.0", "captioner", "Model")


def wait_until(condition: Callable[[], bool], seconds: float = SECONDS) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.005)


class ScriptedWorker:
    """A worker that answers once its gate is open, and dies of the body ``poison``."""

    model = {"name": "captioner", "version": "1.0", "digest": "d1"}  # noqa: RUF012
    pid = 1

    def __init__(self, script: Script) -> None:
        self._script = script
        self._ended = asyncio.Event()
        self._batch: Sequence[Question] = ()

    async def send(self, batch: Sequence[Question]) -> None:
        self._batch = batch
        self._script.batches.append([each.body for each in batch])

    async def receive(self) -> BatchAnswered | BatchFailed:
        bodies = [each.body for each in self._batch]
        while not self._script.gate.is_set():
            await asyncio.sleep(0.002)
        if b"poison" in bodies:
            self._ended.set()
            raise WorkerDied
        if b"memory" in bodies:
            return BatchFailed(507)
        replies = [self._script.reply(each) for each in self._batch]
        observed = Observation("captioner_requests_total", len(bodies), ("ok", *LABELS))
        return BatchAnswered(replies, [observed])

    async def wait(self) -> int:
        await self._ended.wait()
        return -9

    async def stop(self, seconds: float = 0) -> None:
        self._ended.set()


def echo(question: Question) -> Reply:
    """Reply with what was asked."""
    return Reply(to_json({"body": question.body.decode(), "route": question.route.value}))


@dataclass
class Script:
    """The scripted work of a server's workers, and a record of it."""

    gate: threading.Event = field(default_factory=threading.Event)  # open: batches are answered
    starts: threading.Event = field(default_factory=threading.Event)  # set: workers can load
    batches: list[list[bytes]] = field(default_factory=list)  # bodies that workers were given
    tasks: list[WorkerTask] = field(default_factory=list)  # of the workers that were started
    reply: Callable[[Question], Reply] = echo

    async def start(self, task: WorkerTask, seconds: float) -> ScriptedWorker:
        self.tasks.append(task)
        if not self.starts.is_set():
            raise WorkerDied("no memory for another one")
        return ScriptedWorker(self)


@dataclass
class RunningApp:
    """A server in a thread of this process."""

    server: Server
    models: Models
    script: Script
    port: int
    thread: threading.Thread

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def predictions(self) -> str:
        return f"{self.url}/predictions/captioner"

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), SECONDS)

    def stop(self) -> None:
        """Do what a signal does."""
        self.server.handle_exit(15, None)


@contextlib.contextmanager
def running_app(
    monkeypatch: pytest.MonkeyPatch,
    limits: Limits | None = None,
    settings: dict[str, object] | None = None,
    key: str | None = None,
) -> Iterator[RunningApp]:
    script = Script()
    script.gate.set()
    script.starts.set()
    monkeypatch.setattr(WorkerProcess, "start", script.start)
    served = ServedVersion("1.0", Path(), settings or {})
    with listen("127.0.0.1", 0) as listener:
        models = Models([served], Computing(1, "cpu", "float32"), limits or Limits())
        server = Server(create_app(models, key), models.limits)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])), daemon=True)
        app = RunningApp(server, models, script, listener.getsockname()[1], thread)
        thread.start()
        try:
            wait_until(lambda: server.started)
            yield app
        finally:
            script.gate.set()
            app.stop()
            thread.join(SECONDS)
    assert not thread.is_alive()


def request(body: bytes, length: int | None = None, more: str = "") -> bytes:
    """The bytes of a request, whose body may be announced longer than it is."""
    size = len(body) if length is None else length
    head = (
        f"POST /predictions/captioner HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n{more}\r\n"
    )
    return head.encode() + body


def answer(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Read one reply from a connection: status, headers and body; status 0 if there is none."""
    file = connection.makefile("rb")
    line = file.readline()
    if not line:
        return 0, {}, b""
    headers = {}
    while (header := file.readline().strip()) != b"":
        name, _, value = header.decode().partition(": ")
        headers[name.lower()] = value
    body = file.read(int(headers.get("content-length", 0)))
    return int(line.split()[1]), headers, body


def echoed(body: bytes) -> str:
    return str(json.loads(body)["body"])
