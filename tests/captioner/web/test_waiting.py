"""Requests that wait for a worker, or lose theirs."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from captioner.web.messages import BatchAnswered, Question
from captioner.web.metrics import ServerMetrics
from captioner.web.pool import Pool
from captioner.web.settings import Batching, Computing, Limits
from captioner.web.versions import ServedVersion
from captioner.web.waiting import Job, WaitingJobs
from captioner.web.worker_process import WorkerDied
from handler.replies import Reply
from handler.routes import Route
from tests.captioner.web.fakes import (
    SECONDS,
    RunningApp,
    answer,
    echoed,
    request,
    running_app,
    wait_until,
)

ONE_BY_ONE = {"batchSize": 1, "maxBatchDelay": 1}


def send(app: RunningApp, body: bytes) -> requests.Response:
    headers = {"Content-Type": "image/jpeg"}
    return requests.post(app.predictions, data=body, headers=headers, timeout=SECONDS)


def test_requests_that_come_together_are_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    with running_app(monkeypatch, settings={"batchSize": 4, "maxBatchDelay": 2}) as app:
        app.script.gate.clear()
        bodies = [f"photo {i}".encode() for i in range(9)]
        with ThreadPoolExecutor(9) as pool:
            first = pool.submit(send, app, bodies[0])
            wait_until(lambda: len(app.script.batches) == 1)
            others = [pool.submit(send, app, body) for body in bodies[1:]]
            wait_until(lambda: app.models.pool().waiting == 8)
            app.script.gate.set()
            replies = [each.result() for each in (first, *others)]
        assert [reply.json()["body"].encode() for reply in replies] == bodies
        assert [len(batch) for batch in app.script.batches] == [1, 4, 4]
        assert len({reply.headers["x-request-id"] for reply in replies}) == 9


def new_job() -> Job:
    """Make a job of the event loop that runs."""
    question = Question("", Route.PREDICT, {}, b"")
    return Job(question, asyncio.get_running_loop().create_future(), 0.0)


def test_only_requests_that_come_one_by_one_do_not_wait_for_others() -> None:
    async def take() -> list[int]:
        jobs = WaitingJobs(Batching(size=3, delay=0.0), limit=9)

        async def size_of_next(first: int, then: int) -> int:
            """Take a batch; of its jobs the first are there before the worker is free."""
            for _ in range(first):
                jobs.put(new_job())
            taking = asyncio.create_task(jobs.take())
            for _ in range(then):
                await asyncio.sleep(0.01)
                jobs.put(new_job())
            async with asyncio.timeout(SECONDS):
                return len(await taking)

        sizes = [await size_of_next(1, 0)]
        jobs.batching = Batching(size=3, delay=2 * SECONDS)
        sizes += [await size_of_next(0, 1), await size_of_next(0, 1)]
        sizes += [await size_of_next(1, 2)]  # another came while the last one was answered
        sizes += [await size_of_next(0, 3)]  # the last batch had several
        return sizes

    assert asyncio.run(take()) == [1, 1, 1, 3, 3]


def test_a_worker_has_the_next_batch_before_the_answers_are_passed_on() -> None:
    async def serve() -> list[list[bool]]:
        metrics = ServerMetrics()
        served = ServedVersion("1.0", Path(), {"batchSize": 2})
        pool = Pool(served, Computing(1, "cpu", "float32"), 9, metrics)
        jobs = [new_job() for _ in range(5)]
        for job in jobs:
            pool._waiting.put(job)
        given: list[list[bool]] = []  # which jobs had answers when a batch was sent

        class Worker:
            async def send(self, batch: Sequence[Question]) -> None:
                given.append([job.reply.done() for job in jobs])
                self.size = len(batch)

            async def receive(self) -> BatchAnswered:
                if len(given) == 3:
                    raise WorkerDied
                return BatchAnswered([Reply(b"") for _ in range(self.size)], [])

            async def wait(self) -> int:
                return await asyncio.Event().wait()

        await pool._serve(Worker())
        return given

    nothing = [False] * 5
    assert asyncio.run(serve()) == [nothing, nothing, [True] * 4 + [False]]


def test_the_delay_is_that_between_two_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    async def take(delays: int) -> tuple[int, list[float | None]]:
        monkeypatch.setattr("captioner.web.waiting.MAX_DELAYS", delays)
        jobs = WaitingJobs(Batching(size=3, delay=7.0), limit=9)
        waited: list[float | None] = []

        async def wait(seconds: float | None = None) -> bool:
            waited.append(seconds)
            jobs.put(new_job())
            return True

        monkeypatch.setattr(jobs, "_wait", wait)
        jobs.put(new_job())
        return len(await jobs.take()), waited

    assert asyncio.run(take(3)) == (3, [7.0, 7.0])
    assert asyncio.run(take(0)) == (1, [])  # all of a batch come within so many delays


def test_a_full_queue_refuses_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = Limits(waiting=2)
    with running_app(monkeypatch, limits, ONE_BY_ONE) as app, ThreadPoolExecutor(3) as pool:
        app.script.gate.clear()
        asked = [pool.submit(send, app, b"photo")]
        wait_until(lambda: len(app.script.batches) == 1)
        asked += [pool.submit(send, app, b"photo") for _ in range(2)]
        wait_until(lambda: app.models.pool().waiting == 2)
        refused = send(app, b"photo")
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) > 0
        assert refused.json()["code"] == 503
        app.script.gate.set()
        assert [each.result().status_code for each in asked] == [200] * 3


def test_nothing_is_computed_for_a_caller_who_has_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    with running_app(monkeypatch, settings=ONE_BY_ONE) as app, ThreadPoolExecutor(1) as pool:
        app.script.gate.clear()
        first = pool.submit(send, app, b"first")
        wait_until(lambda: len(app.script.batches) == 1)
        with app.connect() as gone:
            gone.sendall(request(b"gone"))
            wait_until(lambda: app.models.pool().waiting == 1)
        wait_until(lambda: app.models.pool().waiting == 0)
        app.script.gate.set()
        assert first.result().status_code == 200
        assert send(app, b"last").status_code == 200
        assert app.script.batches == [[b"first"], [b"last"]]


def test_requests_of_a_worker_that_dies_are_answered_by_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each alone and once: what ends workers takes nothing with it."""
    with running_app(monkeypatch, settings={"batchSize": 4}) as app, ThreadPoolExecutor(4) as pool:
        app.script.gate.clear()
        block = pool.submit(send, app, b"block")
        wait_until(lambda: len(app.script.batches) == 1)
        bodies = [b"one", b"poison", b"two"]
        asked = [pool.submit(send, app, body) for body in bodies]
        wait_until(lambda: app.models.pool().waiting == 3)
        app.script.gate.set()
        assert block.result().status_code == 200
        replies = [each.result() for each in asked]
        assert [reply.status_code for reply in replies] == [200, 500, 200]
        assert "worker died" in replies[1].json()["message"]
        assert sorted(app.script.batches[1]) == sorted(bodies)
        assert sorted(app.script.batches[2:]) == sorted([body] for body in bodies)
        assert len(app.script.tasks) == 3  # the first, and one after each death


def test_a_worker_that_takes_too_long_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    with running_app(monkeypatch, settings={"responseTimeout": 0.05}) as app:
        app.script.gate.clear()
        reply = send(app, b"photo")
        assert reply.status_code == 500
        assert "0.05 s" in reply.json()["message"]
        app.script.gate.set()
        assert send(app, b"photo").status_code == 200
        assert len(app.script.tasks) == 2


def test_a_batch_that_fails_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    with running_app(monkeypatch) as app:
        reply = send(app, b"memory")
        assert (reply.status_code, reply.json()["code"]) == (507, 507)
        assert send(app, b"photo").status_code == 200


def test_without_a_worker_it_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("captioner.web.pool.FIRST_PAUSE", 0.01)
    addresses = {"/ping": 500, "/v2/health/ready": 503, "/v2/models/captioner/ready": 503}
    with running_app(monkeypatch) as app:

        def statuses() -> dict[str, int]:
            return {
                path: requests.get(app.url + path, timeout=SECONDS).status_code
                for path in addresses
            }

        assert statuses() == dict.fromkeys(addresses, 200)
        app.script.starts.clear()
        died = send(app, b"poison")  # which is not given to a worker that does not start
        assert died.status_code == 503
        assert statuses() == addresses
        assert send(app, b"photo").status_code == 503
        assert requests.get(f"{app.url}/v2/health/live", timeout=SECONDS).status_code == 200
        app.script.starts.set()
        wait_until(lambda: app.models.pool().ready)
        assert statuses() == dict.fromkeys(addresses, 200)
        assert send(app, b"photo").status_code == 200


def test_what_is_under_way_is_answered_before_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    with running_app(monkeypatch, settings=ONE_BY_ONE) as app, ThreadPoolExecutor(3) as pool:
        idle = requests.Session()
        assert idle.get(f"{app.url}/ping", timeout=SECONDS).status_code == 200
        app.script.gate.clear()
        asked = [pool.submit(send, app, b"photo") for _ in range(3)]
        wait_until(lambda: app.models.pool().waiting == 2)
        stopping = threading.Thread(target=app.thread.join)
        app.stop()
        stopping.start()
        wait_until(lambda: not app.server.servers[0].is_serving())
        with pytest.raises(requests.ConnectionError, match="refused"):
            requests.get(f"{app.url}/ping", timeout=SECONDS)
        # A connection that is open may have sent its next request already.
        last = idle.get(f"{app.url}/ping", timeout=SECONDS)
        assert (last.status_code, last.headers["connection"]) == (200, "close")
        app.script.gate.set()
        replies = [each.result() for each in asked]
        assert [reply.status_code for reply in replies] == [200] * 3
        assert {reply.headers["connection"] for reply in replies} == {"close"}
        stopping.join(SECONDS)
        assert not stopping.is_alive()


def test_a_connection_that_is_not_accepted_yet_is_answered_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its sender is connected already: the system has accepted it for the server."""
    late = []
    with running_app(monkeypatch) as app:
        shutdown = app.server.shutdown

        async def connect_and_shut_down(sockets: list[socket.socket] | None = None) -> None:
            late.append(app.connect())
            late[0].sendall(request(b"late", more="Content-Type: image/jpeg\r\n"))
            await shutdown(sockets)

        monkeypatch.setattr(app.server, "shutdown", connect_and_shut_down)
        app.stop()
        app.thread.join(SECONDS)
    with late[0] as connection:
        status, headers, body = answer(connection)
    assert (status, echoed(body), headers["connection"]) == (200, "late", "close")
