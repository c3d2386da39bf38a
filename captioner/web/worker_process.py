"""A worker as the server sees it: start it, hand it batches, end it."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import Sequence
from contextlib import suppress
from typing import Self

from captioner.threads import limit_spinning
from captioner.web import messages
from captioner.web.messages import (
    BatchAnswered,
    BatchFailed,
    Question,
    Ready,
    StartFailed,
    WorkerTask,
)

STOP_SECONDS = 5.0  # for a worker that has nothing to do

# The modules of the worker are found where those of the server were found.
PROGRAM = """
import sys
sys.path[:] = {path!r}
from captioner.web.worker import main
main({descriptor})
"""


class WorkerDied(Exception):
    """A worker has ended, or did not load; the message says why, if that is known."""


class WorkerProcess:
    """A worker that has loaded; `start` makes one.

    Attributes
    ----------
    model
        Name, version and digest of what it serves.
    """

    def __init__(
        self,
        process: Process,
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        model: dict[str, str],
    ) -> None:
        self._process = process
        self._reader, self._writer = streams
        self.model = model

    @property
    def pid(self) -> int:
        return self._process.pid

    @classmethod
    async def start(cls, task: WorkerTask, seconds: float) -> Self:
        """Start a worker and wait until it has loaded.

        Parameters
        ----------
        seconds
            The time for it to load.

        Raises
        ------
        WorkerDied
            It did not load.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            process = await _start_process(theirs)
        reader, writer = await asyncio.open_connection(sock=ours)
        writer.transport.set_write_buffer_limits(0)  # what is drained has been sent
        try:
            writer.write(messages.to_bytes(task))
            model = await _loaded_model(reader, seconds)
        except BaseException:
            writer.close()
            _kill(process)
            raise
        return cls(process, (reader, writer), model)

    async def send(self, batch: Sequence[Question]) -> None:
        """Hand over a batch, all of it; raises `WorkerDied` if the worker has ended."""
        try:
            for part in messages.batch_parts(batch):
                self._writer.write(part)
                await self._writer.drain()
        except ConnectionError as error:
            raise WorkerDied("a worker has ended") from error

    async def receive(self) -> BatchAnswered | BatchFailed:
        """Wait for the answer to the batch; raises `WorkerDied` if the worker ends before."""
        try:
            answer: BatchAnswered | BatchFailed = await messages.receive(self._reader)
        except (EOFError, ConnectionError) as error:
            raise WorkerDied("a worker has ended") from error
        return answer

    async def wait(self) -> int:
        """Wait until the process has ended and return its status."""
        return await self._process.wait()

    async def stop(self, seconds: float = STOP_SECONDS) -> None:
        """End the process: it may end by itself within that time, after which it is killed."""
        self._writer.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._process.wait()
        _kill(self._process)
        await self._process.wait()


async def _loaded_model(reader: asyncio.StreamReader, seconds: float) -> dict[str, str]:
    """Return what a worker has loaded; raises `WorkerDied` if it does not load in time."""
    try:
        async with asyncio.timeout(seconds):
            answer: Ready | StartFailed = await messages.receive(reader)
    except TimeoutError as error:
        raise WorkerDied(f"a worker did not load within {seconds:g} s") from error
    except (EOFError, ConnectionError) as error:
        raise WorkerDied("a worker ended as it loaded") from error
    if isinstance(answer, StartFailed):
        raise WorkerDied(answer.message)
    return answer.model


async def _start_process(connection: socket.socket) -> Process:
    environment = dict(os.environ)
    limit_spinning(environment)
    descriptor = connection.fileno()
    program = PROGRAM.format(path=sys.path, descriptor=descriptor)
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=None,
        env=environment,
        pass_fds=[descriptor],
    )


def _kill(process: Process) -> None:
    with suppress(ProcessLookupError):
        process.kill()
