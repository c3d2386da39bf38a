"""Check whether a served captioner is ready: it has a ready worker, and captions a photo.

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

from PIL import Image

from captioner.operations.http import Connection, RequestFailed
from captioner.operations.keys import Keys
from captioner.operations.management import Management, ManagementError, ServedVersion

ATTEMPT_SECONDS = 10.0  # without a sign of the server
MIN_ATTEMPT_SECONDS = 1.0  # for the last attempt of a wait
POLL_SECONDS = 0.5


class NotReady(RuntimeError):
    """A captioner is not ready; the message says in one line what is missing.

    Parameters
    ----------
    reason
        What is missing.
    after
        The seconds of waiting; 0 if it was checked once.
    """

    def __init__(self, reason: str, after: float = 0) -> None:
        super().__init__(f"not ready{f' after {after:g} s' if after else ''}: {reason}")
        self.reason = reason


@dataclass(frozen=True)
class Clock:
    """The time, and a way to let it pass, in seconds; tests have one of their own."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Any] = time.sleep


@dataclass(frozen=True)
class ReadyCaptioner:
    """A captioner that is ready."""

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
    management_url: str,
    model: str,
    seconds: float,
    clock: Clock | None = None,
    key_file: Path | None = None,
) -> ReadyCaptioner:
    """Check again and again until a captioner is ready or the time is over.

    Parameters
    ----------
    url
        The address of predictions.
    management_url
        The address of the management API.
    model
        The name that the model is registered with.
    seconds
        The time to wait; 0 checks once.
    clock
        In place of the system's clock.
    key_file
        TorchServe's key file, if it asks for tokens; it is read at every attempt, because it comes
        with the server and may change.

    Raises
    ------
    NotReady
        The captioner is not ready; says what was missing at the last attempt.
    ValueError
        An address is malformed, or the time is negative.
    """
    if not seconds >= 0:
        raise ValueError(f"wait is {seconds}; it must be at least 0 seconds")
    clock = clock or Clock()
    end = clock.now() + seconds
    while True:
        left = end - clock.now()
        # With a wait, the last attempt must not make it much longer; without one it has full time.
        timeout = (
            min(ATTEMPT_SECONDS, max(left, MIN_ATTEMPT_SECONDS)) if seconds else ATTEMPT_SECONDS
        )
        try:
            return check_once(url, management_url, model, timeout, clock, key_file)
        except NotReady as missing:
            if clock.now() + POLL_SECONDS >= end:
                raise NotReady(missing.reason, after=seconds) from missing
        clock.sleep(POLL_SECONDS)


def check_once(
    url: str,
    management_url: str,
    model: str,
    timeout: float,
    clock: Clock,
    key_file: Path | None = None,
) -> ReadyCaptioner:
    """Check once whether a captioner is ready; see `wait_until_ready` for arguments and errors.

    Parameters
    ----------
    timeout
        The longest time without a sign of the server, in seconds.
    """
    try:
        keys = Keys.read(key_file) if key_file else None
    except ValueError as error:  # TorchServe may be writing the file
        raise NotReady(str(error)) from error
    with (
        Connection(url, keys.inference if keys else None) as predictions,
        Management(management_url, model, keys.management if keys else None, timeout) as management,
    ):
        served = _ready_version(management)
        started = clock.now()
        try:
            _ask_caption(predictions, model, timeout)
        except RequestFailed as error:
            raise NotReady(f"{model} {served.version} captions no photo: {error}") from error
        return ReadyCaptioner(model, served.version, served.ready, clock.now() - started)


def _ready_version(management: Management) -> ServedVersion:
    """Return the default version; raise `NotReady` if it has no ready worker."""
    try:
        served = management.default_version()
    except ManagementError as error:
        raise NotReady(str(error)) from error
    if not served.ready:
        states = Counter(served.workers)
        others = ", ".join(f"{count} {state}" for state, count in states.items())
        raise NotReady(
            f"{management.model} {served.version} has no READY worker ({others or 'none at all'})"
        )
    return served


def _ask_caption(predictions: Connection, model: str, timeout: float) -> None:
    """Ask for the caption of a photo; raise `RequestFailed` if none comes."""
    path = f"/predictions/{quote(model, safe='')}"
    reply = predictions.request("POST", path, seconds=timeout, content=tiny_photo())
    try:
        captioned = isinstance(reply.json()["caption"], str)
    except (ValueError, LookupError, TypeError):
        captioned = False
    if not captioned:
        raise RequestFailed(f"{predictions.url}{path} did not answer as a captioner does")


def tiny_photo() -> bytes:
    """Return a PNG of 64 x 64 pixels that shows a gradient."""
    file = io.BytesIO()
    Image.linear_gradient("L").resize((64, 64)).save(file, "PNG")
    return file.getvalue()
