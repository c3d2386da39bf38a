"""Servers that tests start by ``captioner web``, with real workers."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import yaml

from captioner.operations.archive import MODEL_CONFIG
from captioner.paths import PACKAGES, ROOT

START_SECONDS = 900.0  # for a worker to load
SECONDS = 300.0  # for an answer or an end on a busy machine


@dataclass
class RunningWeb:
    """A server of one checkpoint, which is its version 1.0."""

    process: subprocess.Popen[str]
    checkpoint: Path
    log: Path
    url: str = ""
    printed: str = ""

    @property
    def predictions(self) -> str:
        return f"{self.url}/predictions/captioner"

    @property
    def workers(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children()

    def logged(self) -> str:
        return self.log.read_text()


@contextmanager
def running_web(checkpoint: Path, *options: object) -> Iterator[RunningWeb]:
    with (
        tempfile.NamedTemporaryFile("w", prefix="captioner-web-", suffix=".log") as log,
        patient(checkpoint) as checkpoint,
    ):
        command = [sys.executable, "-m", "captioner", "web", "--checkpoint", checkpoint]
        process = subprocess.Popen(
            [*map(str, command), "--port", "0", "--device", "cpu", *map(str, options)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        web = RunningWeb(process, checkpoint, Path(log.name))
        try:
            assert process.stdout
            for line in process.stdout:
                web.printed += line
                if line.startswith("What else"):
                    break
            found = re.search(r"(http://[0-9.:]+)/predictions/captioner", web.printed)
            assert found, web.logged()
            web.url = found[1]
            yield web
        finally:
            process.terminate()
            process.wait(SECONDS)
            assert process.stdout
            process.stdout.close()


@contextmanager
def running_page(server: str) -> Iterator[str]:
    """Run ``captioner web --server``, and yield the address of the page."""
    command = [sys.executable, "-m", "captioner", "web", "--server", server, "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            (url,) = re.findall(r"http://[0-9.:]+", process.stdout.readline())
            yield url
        finally:
            process.terminate()
        assert process.wait(SECONDS) == 0


@contextmanager
def patient(checkpoint: Path) -> Iterator[Path]:
    """Copy a checkpoint folder, with settings that let a worker load on a busy machine."""
    if not checkpoint.is_dir():
        yield checkpoint
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, checkpoint.name)
        shutil.copytree(checkpoint, copy)
        shared = yaml.safe_load((PACKAGES / "handler" / MODEL_CONFIG).read_text())
        settings = shared | {"startupTimeout": START_SECONDS}
        (copy / MODEL_CONFIG).write_text(yaml.safe_dump(settings))
        yield copy
