"""A TorchServe of the checkpoint for benchmarks: on free ports, in a temporary folder."""

from __future__ import annotations

import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import requests
import torch

from captioner.operations.archive import Archive
from captioner.operations.package import package
from captioner.operations.ports import Ports
from captioner.operations.record import RecordedVersion, StoreRecord
from captioner.operations.store import Store
from captioner.operations.torchserve import START_SECONDS, Server
from model import Captioner, DecodingOptions


class BenchmarkServer:
    """A server of the checkpoint, packaged as version 1.0; `benchmark_server` makes and stops it.

    Parameters
    ----------
    folder
        Where archive, log and record are written.
    checkpoint
        Checkpoint folder.
    """

    def __init__(self, folder: Path, checkpoint: Path) -> None:
        self.checkpoint = checkpoint
        self.ports = Ports.find_free()
        self.server = Server(folder / "run")
        self.store = Store(folder / "store")
        self.archive = self.store.folder / "captioner.mar"
        digest = package(checkpoint, "1.0", self.archive)
        self.store.write_record(
            StoreRecord("1.0", versions={"1.0": RecordedVersion(self.archive.name, digest)})
        )

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
        java = self.server.check_can_start(self.ports)
        with self.server.lock(self.store) as lock:
            self.server.start(java, self.store, self.ports, lock)
        url = f"http://127.0.0.1:{self.ports.inference}/predictions/captioner"
        self.server.wait_for_caption(url, photo, START_SECONDS)
        return time.perf_counter() - start

    def worker(self) -> psutil.Process:
        """Return the process of the first worker.

        Raises
        ------
        RuntimeError
            This server has no worker.
        """
        url = f"http://127.0.0.1:{self.ports.management}/models/captioner"
        workers = requests.get(url, timeout=10).json()[0]["workers"]
        frontend = self.server.process()
        ours = {process.pid for process in frontend.children(recursive=True)} if frontend else set()
        pids = [worker["pid"] for worker in workers if worker["pid"] in ours]
        if not pids:
            raise RuntimeError(f"this server's worker is not among {workers}")
        return psutil.Process(pids[0])

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


@contextmanager
def benchmark_server(checkpoint: Path) -> Iterator[tuple[BenchmarkServer, Path]]:
    """Make a server that is not started yet, and stop it at the end, whatever happens.

    SIGTERM is an interrupt from here on, so that the server is stopped then, too.

    Yields
    ------
    The server, and a temporary folder that is deleted at the end.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="captioner-bench-") as name:
        folder = Path(name)
        server = BenchmarkServer(folder, checkpoint)
        try:
            yield server, folder
        finally:
            server.server.stop()
