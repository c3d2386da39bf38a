"""The workers of one version: batches go to them, and one that dies is replaced."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial

from captioner.web import errors
from captioner.web.messages import BatchAnswered, BatchFailed, Question, WorkerTask
from captioner.web.metrics import ServerMetrics
from captioner.web.settings import Batching, Computing
from captioner.web.versions import ServedVersion
from captioner.web.waiting import Job, WaitingJobs
from captioner.web.worker_process import WorkerDied, WorkerProcess
from handler.replies import Reply

log = logging.getLogger("captioner")

# Seconds before a worker that did not load is started once more; doubled at every failure.
FIRST_PAUSE, LAST_PAUSE = 1.0, 30.0


class Pool:
    """The workers of one version and the requests that wait for them.

    A request whose worker dies is given to another worker once, alone: captioning changes nothing,
    and a request that ends workers takes no other with it.

    Parameters
    ----------
    limit
        The number of requests that may wait.

    Attributes
    ----------
    served
        The version and its checkpoint.
    model
        Name, version and digest of what is served, once a worker has loaded.
    """

    def __init__(
        self, served: ServedVersion, computing: Computing, limit: int, metrics: ServerMetrics
    ) -> None:
        self.version = served.version
        self.model: dict[str, str] = {}
        self.served, self._computing, self._metrics = served, computing, metrics
        self._batching = Batching.read(served.settings)
        self._waiting = WaitingJobs(self._batching, limit)
        self._workers: dict[int, WorkerProcess] = {}  # those that are loaded, by their places
        self._failing = False  # whether the last worker that was started did not load
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def ready(self) -> bool:
        """Whether a worker is loaded."""
        return bool(self._workers)

    @property
    def all_ready(self) -> bool:
        """Whether every worker is loaded."""
        return len(self._workers) == self._computing.workers

    @property
    def pids(self) -> list[int]:
        """The process ids of the workers that are loaded."""
        return [worker.pid for worker in self._workers.values()]

    @property
    def waiting(self) -> int:
        """The number of requests that wait for a worker."""
        return len(self._waiting)

    async def start(self) -> None:
        """Start the workers and return once the first has loaded.

        Raises
        ------
        RuntimeError
            None of them loads; the message says why.
        """
        loaded = asyncio.Event()
        places = range(self._computing.workers)
        self._tasks = [asyncio.create_task(self._keep_worker(i, loaded)) for i in places]
        waiting = asyncio.create_task(loaded.wait())
        done, _ = await asyncio.wait([waiting, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
        if waiting not in done:
            waiting.cancel()
            await self.stop()
            (failed, *_) = done
            error = failed.exception()
            raise RuntimeError(f"version {self.version} cannot be served: {error}") from error

    async def stop(self) -> None:
        """End the workers; requests that still wait are answered with 503."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._refuse_waiting("the server is stopping")

    def check_room(self) -> None:
        """Raise a `ServerError` with status 503 unless one more request may wait."""
        if self._failing and not self.ready:
            raise errors.unavailable("no worker is up")
        self._waiting.check_room()

    async def answer(self, question: Question) -> Reply:
        """Have a request answered; if the caller of this coroutine cancels it, it is dropped.

        Raises
        ------
        ServerError
            Too many requests wait.
        """
        self.check_room()
        loop = asyncio.get_running_loop()
        job = Job(question, loop.create_future(), loop.time())
        self._waiting.put(job)
        try:
            return await job.reply
        finally:
            self._waiting.discard(job)
            now = loop.time()
            queued = (job.taken or now) - job.arrived
            self._metrics.time(self.version, queued, now - job.arrived)

    async def _keep_worker(self, place: int, loaded: asyncio.Event) -> None:
        """Start a worker, and another one whenever it has ended."""
        pause = FIRST_PAUSE
        while True:
            try:
                worker = await WorkerProcess.start(
                    self._task(place), self._batching.startup_timeout
                )
            except (WorkerDied, OSError) as error:  # the system may have no room for a process
                if not loaded.is_set():
                    raise
                log.error("a worker of version %s does not start: %s", self.version, error)
                self._failing = True
                if not self.ready:
                    self._refuse_waiting("no worker is up")
                await asyncio.sleep(pause)
                pause = min(2 * pause, LAST_PAUSE)
                continue
            pause = FIRST_PAUSE
            self._failing = False
            self._workers[place], self.model = worker, worker.model
            loaded.set()
            try:
                await self._serve(worker)
            finally:
                del self._workers[place]
                await worker.stop(seconds=0)
            log.warning("a worker of version %s has ended; starting another", self.version)

    def _task(self, place: int) -> WorkerTask:
        settings = self.served.settings.get("handler", {})
        precision = self._computing.precision
        if precision == "auto":
            precision = settings.get("precision", "auto")
        return WorkerTask(
            folder=self.served.folder,
            version=self.version,
            settings=settings,
            response_timeout=self._batching.response_timeout,
            device=self._computing.device,
            precision=precision,
            place=place,
            workers=self._computing.workers,
        )

    async def _serve(self, worker: WorkerProcess) -> None:
        """Hand a worker one batch after the other until it ends.

        A worker that has answered a batch is given the next one first, if enough requests wait, and
        only then the answers are passed on: that takes milliseconds, in which it computes.
        """
        ended = asyncio.create_task(worker.wait())
        pass_on = _nothing
        try:
            while True:
                batch = self._waiting.take_full()
                if batch is None:
                    pass_on()
                    pass_on = _nothing
                    batch = await self._take_unless(ended)
                if not batch:
                    return
                answered = await self._answer_batch(worker, batch, pass_on)
                if answered is None:
                    return
                pass_on = answered
        finally:
            ended.cancel()

    async def _take_unless(self, ended: asyncio.Task[int]) -> list[Job]:
        """Wait for a batch; none if a worker has ended before."""
        taking = asyncio.create_task(self._waiting.take())
        try:
            await asyncio.wait([taking, ended], return_when=asyncio.FIRST_COMPLETED)
        finally:
            taking.cancel()  # which does nothing to one that is done
        return taking.result() if taking.done() else []

    async def _answer_batch(
        self, worker: WorkerProcess, batch: Sequence[Job], sent: Callable[[], None]
    ) -> Callable[[], None] | None:
        """Have a worker answer a batch.

        Parameters
        ----------
        sent
            Called once the worker has the batch, or has failed to take it.

        Returns
        -------
        What passes the answers on; None if they are, and the worker can answer no more.
        """
        try:
            async with asyncio.timeout(self._batching.response_timeout):
                try:
                    await worker.send([job.question for job in batch])
                finally:
                    sent()
                answer = await worker.receive()
        except TimeoutError:
            reply = errors.worker_too_slow(self._batching.response_timeout).reply()
            _answer_all(batch, reply)
            return None
        except WorkerDied:
            self._ask_again(batch)
            return None
        except asyncio.CancelledError:
            _answer_all(batch, errors.unavailable("the server is stopping").reply())
            raise
        return partial(self._pass_on, batch, answer)

    def _pass_on(self, batch: Sequence[Job], answer: BatchAnswered | BatchFailed) -> None:
        """Give the answers to a batch to those who wait for them."""
        if isinstance(answer, BatchFailed):
            _answer_all(batch, errors.batch_failed(answer.status).reply())
            return
        self._metrics.observe(answer.observations)
        for job, reply in zip(batch, answer.replies, strict=True):
            job.answer(reply)

    def _ask_again(self, batch: Sequence[Job]) -> None:
        """Give the requests of a worker that died to another, or answer those that were before."""
        for job in reversed(batch):
            if job.retried:
                job.answer(errors.worker_died().reply())
            elif not job.reply.done():
                self._waiting.put_back(job)

    def _refuse_waiting(self, reason: str) -> None:
        _answer_all([*self._waiting.clear()], errors.unavailable(reason).reply())


def _nothing() -> None:
    """Do nothing: no answers are to be passed on."""


def _answer_all(batch: Sequence[Job], reply: Reply) -> None:
    for job in batch:
        job.answer(reply)
