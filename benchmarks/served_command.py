"""A command of ``captioner`` that serves, run as a user runs it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import requests

from captioner.operations.torchserve import START_SECONDS

STOP_SECONDS = 120.0  # for a server to answer what it has; after that it is killed
POLL_SECONDS = 0.05
OK = 200


class ServedCommand:
    """The process of a command that serves.

    Parameters
    ----------
    arguments
        Of ``captioner``.
    log
        The file that its output is appended to.
    """

    def __init__(self, arguments: Sequence[object], log: Path) -> None:
        self._log = log
        with open(log, "ab") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "captioner", *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_for_caption(self, url: str, photo: bytes) -> None:
        """Ask for a caption until one comes.

        Raises
        ------
        RuntimeError
            The command ended, or gave no caption in time; the message has the end of its output.
        """
        deadline = time.monotonic() + START_SECONDS
        with requests.Session() as session:
            session.trust_env = False  # a proxy of the environment cannot reach this machine
            while self._process.poll() is None and time.monotonic() < deadline:
                try:
                    if session.put(url, data=photo, timeout=30).status_code == OK:
                        return
                except requests.RequestException:
                    pass
                time.sleep(POLL_SECONDS)
        written = self._log.read_text(errors="replace").strip().splitlines()
        raise RuntimeError(
            f"no caption came from {url}; the server says: {' | '.join(written[-3:])}"
        )

    def stop(self) -> int:
        """Stop the process by SIGTERM, if it runs; return its exit status."""
        self._process.terminate()
        try:
            return self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()
