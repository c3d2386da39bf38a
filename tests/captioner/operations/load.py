"""Clients that ask a server without a pause while a test does something to it."""

from __future__ import annotations

import threading
import time

import requests

PAUSE = 0.02  # seconds of a client between two requests: a deploy needs some of the cores, too


class Load:
    """Clients that ask again and again and keep the answers."""

    def __init__(
        self, url: str, photo: bytes, clients: int = 4, headers: dict[str, str] | None = None
    ) -> None:
        self.url, self.photo, self.headers = url, photo, headers
        self.answers: list[tuple[int, str, str]] = []  # status, version, caption
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
                    content = reply.json()
                    self.answers.append(
                        (reply.status_code, content["model"]["version"], content["caption"])
                    )
                except Exception as error:
                    self.faults.append(error)

    def wait_for(self, version: str) -> None:
        """Return once a client was answered by that version."""
        until = time.monotonic() + 60
        while not any(answered_by == version for _, answered_by, _ in self.answers):
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
