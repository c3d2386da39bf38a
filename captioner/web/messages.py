"""Messages between the server and its workers, over a socket that only the two have.

A message is its length and a pickle. The bodies of a batch's requests follow its message as they
are: they may be hundreds of megabytes, which a pickle would copy.
"""

from __future__ import annotations

import asyncio
import pickle
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from handler.replies import Reply
from handler.routes import Route

_LENGTH = struct.Struct(">Q")  # of the pickle that follows, in bytes


@dataclass(frozen=True)
class WorkerTask:
    """The first message to a worker: what to load.

    Attributes
    ----------
    folder
        The checkpoint.
    version
        The version that it is served as.
    settings
        The part ``handler`` of model-config.yaml.
    response_timeout
        Seconds for a batch, after which the worker is replaced.
    device, precision
        See `model.inference.devices`.
    place, workers
        The number of this worker, from 0, and of all workers that share the machine.
    """

    folder: Path
    version: str
    settings: Mapping[str, Any]
    response_timeout: float
    device: str
    precision: str
    place: int
    workers: int


class Ready(NamedTuple):
    """The first answer of a worker that has loaded: name, version and digest of its model."""

    model: dict[str, str]


class StartFailed(NamedTuple):
    """The first answer of a worker that cannot load: why."""

    message: str


class Question(NamedTuple):
    """One request: its id, the kind of answer that it wants, its headers and its body."""

    id: str
    route: Route
    headers: Mapping[str, str]
    body: bytes


class Observation(NamedTuple):
    """A value for a metric in metrics.yaml."""

    metric: str
    value: float
    labels: tuple[str, ...]


class BatchAnswered(NamedTuple):
    """The replies to a batch, in its order, and what it adds to the metrics."""

    replies: list[Reply]
    observations: list[Observation]


class BatchFailed(NamedTuple):
    """A batch that failed whole: the status with which its requests are answered."""

    status: int


def to_bytes(message: object) -> bytes:
    """Return a message as it is sent."""
    content = pickle.dumps(message)
    return _LENGTH.pack(len(content)) + content


def batch_parts(batch: Sequence[Question]) -> Iterator[bytes]:
    """Yield a batch of requests in the parts in which it is sent."""
    yield to_bytes([(each.id, each.route, each.headers, len(each.body)) for each in batch])
    for each in batch:
        yield each.body


async def receive(stream: asyncio.StreamReader) -> Any:
    """Return the next message from a worker; raises `EOFError` if it has ended."""
    (length,) = _LENGTH.unpack(await stream.readexactly(_LENGTH.size))
    return pickle.loads(await stream.readexactly(length))


def read(stream: BinaryIO) -> Any:
    """Return the next message from the server; raises `EOFError` if it has ended."""
    (length,) = _LENGTH.unpack(_read_exactly(stream, _LENGTH.size))
    return pickle.loads(_read_exactly(stream, length))


def read_batch(stream: BinaryIO) -> list[Question]:
    """Return the next batch from the server; raises `EOFError` if it has ended."""
    return [
        Question(id, route, headers, _read_exactly(stream, length))
        for id, route, headers, length in read(stream)
    ]


def _read_exactly(stream: BinaryIO, length: int) -> bytes:
    content = stream.read(length)
    if len(content) < length:
        raise EOFError("the server has ended")
    return content
