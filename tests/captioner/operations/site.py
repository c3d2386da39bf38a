"""A server with version 1.0, archives of others, and clients that load it."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests
import torch

from captioner.operations.package import package
from captioner.operations.ports import Ports
from captioner.operations.store import DEPLOY_LOCK
from captioner.operations.target import ServerTarget
from captioner.operations.torchserve import Server
from captioner.paths import ROOT
from model import Captioner, checkpoint


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "captioner", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
    )


@dataclass
class Site:
    """A server with version 1.0, archives of other versions, and what each says of a photo."""

    folder: Path
    ports: Ports
    target: ServerTarget
    checkpoints: dict[str, Path]

    def archive(self, version: str) -> Path:
        return self.folder / version / "captioner.mar"

    def says(self, version: str, photo: bytes) -> str:
        captioner = Captioner.load(self.checkpoints[version])
        return captioner.caption([photo])[0][0].text

    def served(self) -> tuple[str, list[str]]:
        with self.target.open_management() as management:
            return management.default_version().version, sorted(
                v.version for v in management.versions()
            )

    def stored(self) -> dict[str, bytes]:
        return {
            path.name: path.read_bytes()
            for path in self.target.model_store.iterdir()
            if path.name != DEPLOY_LOCK
        }

    def options(self) -> list[object]:
        return [
            *("--url", self.target.url, "--management", self.target.management_url),
            *("--model-store", self.target.model_store),
        ]

    def start(self, *options: object) -> None:
        done = run(
            *("serve", "--detach", "--port", self.ports.inference, "--folder", self.folder / "run"),
            *("--model-store", self.target.model_store, *options),
        )
        assert done.returncode == 0, done.stderr


@contextmanager
def started(folder: Path, first: Path) -> Iterator[Site]:
    ports, checkpoints = Ports.find_free(), {"1.0": first}
    network, word_map = checkpoint.load(first)
    for seed, version in enumerate(["2.0", "3.0"], 1):
        torch.manual_seed(seed)
        with torch.no_grad():
            network.decoder.fc.weight.copy_(network.decoder.fc.weight[torch.randperm(10)])
        checkpoints[version] = folder / f"checkpoint-{version}"
        checkpoint.save(checkpoints[version], network, word_map, "# Another\n")
    address = "http://127.0.0.1:{}".format
    target = ServerTarget(address(ports.inference), address(ports.management), folder / "store")
    site = Site(folder, ports, target, checkpoints)
    for version in ("2.0", "3.0"):
        package(checkpoints[version], version, site.archive(version))
    try:
        site.start("--checkpoint", first)
        yield site
    finally:
        Server(folder / "run").stop()


PAUSE = 0.02  # seconds of a client between two requests: a deploy needs some of the cores, too


class Load:
    """Clients that ask again and again and keep what they were told."""

    def __init__(
        self, url: str, photo: bytes, clients: int = 4, headers: dict[str, str] | None = None
    ) -> None:
        self.url, self.photo, self.headers = url, photo, headers
        self.answers: list[tuple[int, str, str]] = []
        self.faults: list[Exception] = []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def _ask(self) -> None:
        with requests.Session() as session:
            while not self._over.wait(PAUSE):
                try:
                    reply = session.post(
                        self.url, data=self.photo, headers=self.headers, timeout=60
                    )
                    told = reply.json()
                    self.answers.append(
                        (reply.status_code, told["model"]["version"], told["caption"])
                    )
                except Exception as error:
                    self.faults.append(error)

    def wait_for(self, version: str) -> None:
        """Until a client was answered by that version."""
        until = time.monotonic() + 60
        while not any(told == version for _, told, _ in self.answers):
            assert time.monotonic() < until, f"no client was answered by version {version}"
            time.sleep(PAUSE)

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
