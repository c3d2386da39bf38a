"""The servers that benchmarks start: of one checkpoint, on free ports, in a temporary folder.

`SERVER_TYPES` has the one record of each type of server: a class that starts it, stops it, and
finds its processes.
"""

from __future__ import annotations

import signal
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import psutil
import requests
import torch

from benchmarks.served_command import ServedCommand
from captioner.operations.archive import Archive
from captioner.operations.package import package
from captioner.operations.ports import Ports
from captioner.operations.record import RecordedVersion, StoreRecord
from captioner.operations.store import Store
from captioner.operations.torchserve import START_SECONDS, Server
from model import Captioner, DecodingOptions

PREDICTIONS = "/predictions/captioner"


class BenchmarkServer(ABC):
    """A server of the checkpoint, packaged as version 1.0; `benchmark_server` makes and stops it.

    Parameters
    ----------
    folder
        Where archive, log and record are written.
    checkpoint
        Checkpoint folder.

    Attributes
    ----------
    name
        The name of this type of server for people.
    port
        The port of predictions, on the loopback interface.
    """

    name: ClassVar[str]

    def __init__(self, folder: Path, checkpoint: Path) -> None:
        self.folder, self.checkpoint = folder, checkpoint
        self.ports = Ports.find_free()
        self.archive = folder / "store" / "captioner.mar"
        self.digest = package(checkpoint, "1.0", self.archive)

    @property
    def port(self) -> int:
        return self.ports.inference

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{PREDICTIONS}"

    @property
    def settings(self) -> dict[str, Any]:
        """The content of the archive's model-config.yaml."""
        return Archive.open(self.archive).settings

    def load_in_process(self) -> tuple[Captioner, DecodingOptions]:
        """Load the checkpoint as a worker does; return it with the server's decoding options."""
        settings = self.settings["handler"]
        device = "cuda" if torch.cuda.is_available() else "cpu"  # as a worker chooses
        captioner = Captioner.load(self.checkpoint, device, settings["precision"])
        return captioner, DecodingOptions(**settings["decoding"])

    def start(self, photo: bytes) -> float:
        """Start the server; return the seconds until it has captioned the photo."""
        start = time.perf_counter()
        self._start(photo)
        return time.perf_counter() - start

    @abstractmethod
    def _start(self, photo: bytes) -> None:
        """Start the server and wait until it has captioned the photo."""

    @abstractmethod
    def stop(self) -> int | None:
        """Stop the server by SIGTERM, if it runs; return its exit status, if that is known."""

    @abstractmethod
    def process(self) -> psutil.Process:
        """Return the process that speaks HTTP."""

    @abstractmethod
    def worker(self) -> psutil.Process:
        """Return the process of the first worker.

        Raises
        ------
        RuntimeError
            This server has no worker.
        """

    @classmethod
    @abstractmethod
    def command(cls, checkpoint: Path, port: int, folder: Path) -> list[object]:
        """Return the arguments of ``captioner`` by which a user serves a checkpoint folder.

        Parameters
        ----------
        folder
            An empty folder for what the server writes.
        """

    def memory(self) -> int:
        """Return the resident memory of all processes of the server, in bytes."""
        process = self.process()
        return sum(
            int(each.memory_info().rss) for each in [process, *process.children(recursive=True)]
        )

    def kill_worker(self) -> float:
        """Kill the worker, as the kernel does when memory runs out.

        Returns
        -------
        When it was killed, by `time.perf_counter`.
        """
        worker = self.worker()
        now = time.perf_counter()
        worker.kill()
        return now


class TorchServeServer(BenchmarkServer):
    """A TorchServe, started as ``captioner serve`` starts it."""

    name = "TorchServe"

    def __init__(self, folder: Path, checkpoint: Path) -> None:
        super().__init__(folder, checkpoint)
        self.server = Server(folder / "run")
        self.store = Store(self.archive.parent)
        self.store.write_record(
            StoreRecord("1.0", versions={"1.0": RecordedVersion(self.archive.name, self.digest)})
        )

    @classmethod
    def command(cls, checkpoint: Path, port: int, folder: Path) -> list[object]:
        own = ["--folder", folder / "run", "--model-store", folder / "store"]
        return ["serve", "--checkpoint", checkpoint, "--port", port, *own]

    def _start(self, photo: bytes) -> None:
        java = self.server.check_can_start(self.ports)
        with self.server.lock(self.store) as lock:
            self.server.start(java, self.store, self.ports, lock)
        self.server.wait_for_caption(self.url, photo, START_SECONDS)

    def stop(self) -> None:
        self.server.stop()

    def process(self) -> psutil.Process:
        process = self.server.process()
        if process is None:
            raise RuntimeError("TorchServe does not run")
        return process

    def worker(self) -> psutil.Process:
        url = f"http://127.0.0.1:{self.ports.management}/models/captioner"
        workers = requests.get(url, timeout=10).json()[0]["workers"]
        ours = {process.pid for process in self.process().children(recursive=True)}
        pids = [worker["pid"] for worker in workers if worker["pid"] in ours]
        if not pids:
            raise RuntimeError(f"this server's worker is not among {workers}")
        return psutil.Process(pids[0])


class WebServer(BenchmarkServer):
    """The ASGI app, started by ``captioner web``, of the same archive."""

    name = "captioner web"

    def __init__(self, folder: Path, checkpoint: Path) -> None:
        super().__init__(folder, checkpoint)
        self._command: ServedCommand | None = None

    @classmethod
    def command(cls, checkpoint: Path, port: int, folder: Path) -> list[object]:
        return ["web", "--checkpoint", checkpoint, "--port", port]

    def _start(self, photo: bytes) -> None:
        arguments = self.command(self.archive, self.port, self.folder)
        self._command = ServedCommand(arguments, self.folder / "web.log")
        self._command.wait_for_caption(self.url, photo)

    def stop(self) -> int | None:
        return self._command.stop() if self._command else None

    def process(self) -> psutil.Process:
        if self._command is None:
            raise RuntimeError("captioner web does not run")
        return psutil.Process(self._command.pid)

    def worker(self) -> psutil.Process:
        workers = self.process().children()
        if not workers:
            raise RuntimeError("captioner web has no worker")
        return workers[0]


SERVER_TYPES: dict[str, type[BenchmarkServer]] = {"torchserve": TorchServeServer, "web": WebServer}

AnyServer = TypeVar("AnyServer", bound=BenchmarkServer)


@contextmanager
def benchmark_server(type: type[AnyServer], checkpoint: Path) -> Iterator[tuple[AnyServer, Path]]:
    """Make a server that is not started yet, and stop it at the end, whatever happens.

    SIGTERM is an interrupt from here on, so that the server is stopped then, too.

    Yields
    ------
    The server, and a temporary folder that is deleted at the end.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="captioner-bench-") as name:
        folder = Path(name)
        server = type(folder, checkpoint)
        try:
            yield server, folder
        finally:
            server.stop()
