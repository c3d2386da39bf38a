"""Whether a served captioner is ready: its workers are, and a photo comes back captioned.

TorchServe's own ``/ping`` says Healthy while models load, with none loaded, and for minutes after
a worker died.
"""

from __future__ import annotations

import io
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
from PIL import Image

from captioner.client import (
    Address,
    CaptionClient,
    CaptionError,
    connect,
    failure_of,
    read_address,
)
from captioner.operations.keys import Keys

ATTEMPT_SECONDS = 10.0  # without a sign of the server
LEAST_SECONDS = 1.0  # as much has the last attempt of a wait
POLL_SECONDS = 0.5


class NotReady(RuntimeError):
    """What is missing, in one line, and after how many seconds of waiting."""

    def __init__(self, reason: str, after: float = 0) -> None:
        super().__init__(f"not ready{f' after {after:g} s' if after else ''}: {reason}")
        self.reason = reason


@dataclass(frozen=True)
class Clock:
    """Time and its passing, in seconds; tests have their own."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Any] = time.sleep


@dataclass(frozen=True)
class Ready:
    """A captioner that works."""

    model: str
    version: str
    workers: int
    seconds: float  # that the photo took

    def __str__(self) -> str:
        workers = f"{self.workers} worker{'' if self.workers == 1 else 's'}"
        return (
            f"ready: {self.model} {self.version}, {workers},"
            f" answered in {1000 * self.seconds:.0f} ms"
        )


def wait_until_ready(
    url: str,
    management: str,
    model: str,
    seconds: float,
    clock: Clock | None = None,
    key_file: Path | None = None,
) -> Ready:
    """Check again and again until it is ready or the time is over; 0 seconds check once.

    Parameters
    ----------
    key_file
        TorchServe's, if it wants tokens; read at every attempt, as it comes with the server and
        may change.

    Raises
    ------
    NotReady
        What was missing the last time.
    ValueError
        An address that is none.
    """
    if not seconds >= 0:
        raise ValueError(f"wait is {seconds}; it must be at least 0 seconds")
    clock = clock or Clock()
    end = clock.now() + seconds
    while True:
        left = end - clock.now()
        # Without a wait one attempt has its full time; with one the last must not double it.
        timeout = min(ATTEMPT_SECONDS, max(left, LEAST_SECONDS)) if seconds else ATTEMPT_SECONDS
        try:
            return check(url, management, model, timeout, clock, key_file)
        except NotReady as missing:
            if clock.now() + POLL_SECONDS >= end:
                raise NotReady(missing.reason, after=seconds) from missing
        clock.sleep(POLL_SECONDS)


def check(
    url: str,
    management: str,
    model: str,
    timeout: float,
    clock: Clock,
    key_file: Path | None = None,
) -> Ready:
    """Check once; raises as `wait_until_ready`."""
    keys = _keys(key_file) if key_file else None
    token = keys.inference if keys else None
    with CaptionClient(url, model=model, timeout=timeout, retries=0, token=token) as client:
        headers = {"Authorization": f"Bearer {keys.management}"} if keys else {}
        version, workers = _default_version(read_address(management), model, timeout, headers)
        started = clock.now()
        try:
            client.caption(tiny_photo())
        except CaptionError as error:
            raise NotReady(f"{model} {version} captions no photo: {error}") from error
        return Ready(model, version, workers, clock.now() - started)


def _keys(path: Path) -> Keys:
    try:
        return Keys.read(path)
    except ValueError as error:
        raise NotReady(str(error)) from error


def _default_version(
    management: Address, model: str, timeout: float, headers: dict[str, str]
) -> tuple[str, int]:
    """The version that answers where none is named, and how many of its workers are ready."""
    url = f"{management.url}/models/{quote(model, safe='')}"
    try:
        settings = {"timeout": timeout, "auth": management.auth, "headers": headers}
        with connect(httpx2.Client, **settings) as http:
            response = http.get(url)
    except httpx2.RequestError as error:
        raise NotReady(f"management: {failure_of(error)}") from error
    if not response.is_success:
        raise NotReady(f"management: {failure_of(response)}")
    try:
        (described,) = response.json()
        version = str(described["modelVersion"])
        states = Counter(str(worker["status"]) for worker in described["workers"])
    except (ValueError, LookupError, TypeError) as error:
        raise NotReady(f"{url} describes no model; is it TorchServe's management?") from error
    if not states["READY"]:
        others = ", ".join(f"{count} {state}" for state, count in states.items() if count)
        raise NotReady(f"{model} {version} has no READY worker ({others or 'none at all'})")
    return version, states["READY"]


def tiny_photo() -> bytes:
    """Of nothing."""
    file = io.BytesIO()
    Image.linear_gradient("L").resize((64, 64)).save(file, "PNG")
    return file.getvalue()
