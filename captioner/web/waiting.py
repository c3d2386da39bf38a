"""The requests that wait for a worker, in the order in which they came."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from captioner.web.errors import unavailable
from captioner.web.messages import Question
from captioner.web.settings import Batching
from handler.replies import Reply

# The delay is that between two jobs of a batch; all of them come within so many delays. Callers who
# were answered together ask again together, but a server reads their requests one by one.
MAX_DELAYS = 3
MAX_BATCH_BYTES = 128 * 2**20  # of the bodies of a batch; a larger body is a batch of its own


@dataclass(eq=False)
class Job:
    """A request and its reply to come.

    Attributes
    ----------
    reply
        Cancelled if the caller has gone.
    arrived, taken
        When it came into the queue and when a worker took it, in seconds of the event loop.
    retried
        Whether a worker died while it answered.
    """

    question: Question
    reply: asyncio.Future[Reply]
    arrived: float
    taken: float = 0.0
    retried: bool = False

    def answer(self, reply: Reply) -> None:
        """Give the reply to the caller, if that still waits."""
        if not self.reply.done():
            self.reply.set_result(reply)


@dataclass
class WaitingJobs:
    """A bounded queue, from which each worker takes batches.

    Parameters
    ----------
    limit
        The number of jobs that may wait.
    """

    batching: Batching
    limit: int
    _jobs: deque[Job] = field(default_factory=deque)
    _waiters: set[asyncio.Event] = field(default_factory=set)
    _alone: bool = False  # whether the last batch that a worker took was a single job

    def __len__(self) -> int:
        return len(self._jobs)

    def check_room(self) -> None:
        """Raise a `ServerError` with status 503 if the queue is full."""
        if len(self._jobs) >= self.limit:
            raise unavailable(f"{self.limit} requests wait already")

    def put(self, job: Job) -> None:
        """Add a job at the end; raises as `check_room` does."""
        self.check_room()
        self._jobs.append(job)
        self._wake()

    def put_back(self, job: Job) -> None:
        """Add a job at the beginning, to be answered alone."""
        job.retried = True
        self._jobs.appendleft(job)
        self._wake()

    def discard(self, job: Job) -> None:
        """Remove a job whose caller has gone, unless a worker has it."""
        if job in self._jobs:
            self._jobs.remove(job)

    def clear(self) -> Iterator[Job]:
        """Remove and yield all jobs."""
        while self._jobs:
            yield self._jobs.popleft()

    async def take(self) -> list[Job]:
        """Return the next batch: full, or all that came, each within the delay after the last.

        If jobs come one by one, each when a worker waits for it, nothing more is waited for. Jobs
        stay in the queue until the batch is whole, so a worker that dies meanwhile costs nothing.
        """
        loop = asyncio.get_running_loop()
        one_by_one = self._alone and not self._jobs
        while True:
            while not self._jobs:
                await self._wait()
            delay = 0.0 if one_by_one else self.batching.delay
            latest = loop.time() + MAX_DELAYS * delay
            while 0 < len(self._jobs) < self.batching.size and not self._jobs[0].retried:
                seconds = min(delay, latest - loop.time())
                if seconds <= 0 or not await self._wait(seconds):
                    break
            if batch := self._pop(loop.time()):
                return batch

    def take_full(self) -> list[Job] | None:
        """Return the next batch, if enough jobs for it wait already."""
        if len(self._jobs) < self.batching.size:
            return None
        return self._pop(asyncio.get_running_loop().time())

    def _pop(self, now: float) -> list[Job]:
        batch: list[Job] = []
        size = 0
        while self._jobs and len(batch) < self.batching.size:
            job = self._jobs[0]
            size += len(job.question.body)
            # One that was there when a worker died may be the reason: no other is with it.
            if batch and (job.retried or size > MAX_BATCH_BYTES):
                break
            job.taken = now
            batch.append(self._jobs.popleft())
            if job.retried:
                break
        if batch:
            self._alone = len(batch) == 1
        return batch

    def _wake(self) -> None:
        for waiter in self._waiters:
            waiter.set()

    async def _wait(self, seconds: float | None = None) -> bool:
        """Wait until a job comes; return False if none came in time."""
        waiter = asyncio.Event()
        self._waiters.add(waiter)
        try:
            async with asyncio.timeout(seconds):
                await waiter.wait()
        except TimeoutError:
            return False
        finally:
            self._waiters.discard(waiter)
        return True
