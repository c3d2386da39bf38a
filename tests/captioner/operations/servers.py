"""Servers that tests start and stop through the command line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import requests
import torch

from captioner.operations.package import package
from captioner.operations.ports import Ports
from captioner.operations.store import DEPLOY_LOCK
from captioner.operations.target import ServerTarget
from captioner.operations.torchserve import Server
from captioner.paths import ROOT
from model import Captioner, checkpoint

SECONDS = 60.0  # for an answer


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a command of captioner."""
    return subprocess.run(
        [sys.executable, "-m", "captioner", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
    )


@dataclass
class RunningServer:
    """A server of one checkpoint, which is its version 1.0."""

    folder: Path  # of logs, state and keys
    store: Path
    checkpoint: Path
    ports: Ports = field(default_factory=Ports.find_free)
    printed: str = ""  # by the command that started it

    @property
    def inference(self) -> str:
        return f"http://127.0.0.1:{self.ports.inference}"

    @property
    def url(self) -> str:
        return f"{self.inference}/predictions/captioner"

    @property
    def management(self) -> str:
        return f"http://127.0.0.1:{self.ports.management}"

    @property
    def models(self) -> str:
        return f"{self.management}/models"

    @property
    def target(self) -> ServerTarget:
        return ServerTarget(self.inference, self.management, self.store)

    @property
    def addresses(self) -> list[object]:
        """Options of commands that ask the server."""
        return ["--url", self.inference, "--management", self.management]

    @property
    def options(self) -> list[object]:
        """Options of commands that change its versions."""
        return [*self.addresses, "--model-store", self.store]

    @property
    def worker(self) -> psutil.Process:
        """The one worker of the default version."""
        (version,) = requests.get(f"{self.models}/captioner", timeout=SECONDS).json()
        (worker,) = version["workers"]
        return psutil.Process(worker["pid"])

    def start(self, *options: object) -> None:
        done = run(
            *("serve", "--detach", "--port", self.ports.inference, "--folder", self.folder),
            *("--model-store", self.store, *options),
        )
        assert done.returncode == 0, done.stderr
        self.printed = done.stdout

    def stop(self) -> str:
        """Stop it by the command; return what that logged."""
        done = run("serve", "--stop", "--folder", self.folder)
        assert done.stdout == "stopped\n", done.stderr
        return done.stderr

    def served(self) -> tuple[str, list[str]]:
        """The default version, and all versions."""
        with self.target.open_management() as management:
            versions = sorted(each.version for each in management.versions())
            return management.default_version().version, versions

    def stored(self) -> dict[str, bytes]:
        """The files of the model store."""
        paths = [path for path in self.store.iterdir() if path.name != DEPLOY_LOCK]
        return {path.name: path.read_bytes() for path in paths}


@contextmanager
def running_server(folder: Path, checkpoint: Path, *options: object) -> Iterator[RunningServer]:
    server = RunningServer(folder / "run", folder / "store", checkpoint)
    try:
        server.start("--checkpoint", checkpoint, *options)
        yield server
    finally:
        Server(server.folder).stop()


@dataclass
class Site(RunningServer):
    """A server with version 1.0, and archives of versions 2.0 and 3.0, other checkpoints."""

    archives: Path = Path()
    checkpoints: dict[str, Path] = field(default_factory=dict)

    def archive(self, version: str) -> Path:
        return self.archives / version / "captioner.mar"

    def caption_by(self, version: str, photo: bytes) -> str:
        """The caption of a photo by the checkpoint of a version."""
        captioner = Captioner.load(self.checkpoints[version])
        return captioner.caption([photo])[0][0].text


@contextmanager
def running_site(folder: Path, first: Path) -> Iterator[Site]:
    site = Site(folder / "run", folder / "store", first, archives=folder / "archives")
    site.checkpoints = {"1.0": first} | _others(first, folder)
    for version in ("2.0", "3.0"):
        package(site.checkpoints[version], version, site.archive(version))
    try:
        site.start("--checkpoint", first)
        yield site
    finally:
        Server(site.folder).stop()


def _others(first: Path, folder: Path) -> dict[str, Path]:
    """Checkpoints whose captions differ, for the scores of their words are in another order."""
    network, word_map = checkpoint.load(first)
    checkpoints = {}
    for seed, version in enumerate(["2.0", "3.0"], 1):
        torch.manual_seed(seed)
        with torch.no_grad():
            network.decoder.fc.weight.copy_(network.decoder.fc.weight[torch.randperm(10)])
        checkpoints[version] = folder / f"checkpoint-{version}"
        checkpoint.save(checkpoints[version], network, word_map, "# Another\n")
    return checkpoints
