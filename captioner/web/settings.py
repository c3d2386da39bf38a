"""The settings of the web server, most of them from the files that configure TorchServe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from captioner.paths import ROOT
from captioner.properties import read_properties


@dataclass(frozen=True)
class Batching:
    """The settings by which a version's requests are batched and answered; times are in seconds.

    Attributes
    ----------
    size
        Requests that a worker answers together, at most.
    delay
        The time that a free worker waits for another request once it has one.
    response_timeout
        The time for a batch, after which its worker is replaced.
    startup_timeout
        The time for a worker to load.
    """

    size: int = 16
    delay: float = 0.01
    response_timeout: float = 60.0
    startup_timeout: float = 120.0

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"batchSize is {self.size}; it must be at least 1")

    @classmethod
    def read(cls, settings: Mapping[str, Any]) -> Self:
        """Read the content of a model-config.yaml.

        Raises
        ------
        ValueError
            A setting is no number.
        """
        try:
            return cls(
                size=int(settings.get("batchSize", cls.size)),
                delay=float(settings.get("maxBatchDelay", 1e3 * cls.delay)) / 1e3,
                response_timeout=float(settings.get("responseTimeout", cls.response_timeout)),
                startup_timeout=float(settings.get("startupTimeout", cls.startup_timeout)),
            )
        except (TypeError, ValueError) as error:
            raise ValueError(f"model-config.yaml: {error}") from error


@dataclass(frozen=True)
class Limits:
    """The limits on what callers may take from the server.

    Attributes
    ----------
    request_bytes
        The size of a request's body.
    waiting
        The number of requests of a version that wait for a worker.
    held_bytes
        The size of all bodies together that are arriving or waiting.
    connections
        The number of open connections.
    silence
        The seconds without a byte after which a sender is dropped. So long may the head of a
        request take to arrive, too.
    rate
        The bytes a second that a body must have, on average, after the first seconds of silence.
    """

    request_bytes: int = 64 * 2**20
    waiting: int = 200
    held_bytes: int = 2**30
    connections: int = 1000
    silence: float = 10.0
    rate: float = 16 * 2**10

    @classmethod
    def read(cls) -> Self:
        """Read the limits that config.properties has."""
        properties = read_properties((ROOT / "config.properties").read_text())
        return cls(
            request_bytes=int(properties["max_request_size"]),
            waiting=int(properties["job_queue_size"]),
        )


@dataclass(frozen=True)
class Computing:
    """The device, the precision and the workers that compute a version.

    Attributes
    ----------
    workers
        The number of worker processes; they share the cores, and the GPUs if there are several.
    device, precision
        See `model.inference.devices`. The precision ``auto`` is that of model-config.yaml.
    """

    workers: int = 1
    device: str = "auto"
    precision: str = "auto"

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ValueError(f"workers is {self.workers}; there must be at least 1")
