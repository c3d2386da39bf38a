"""The ready probe of an instance, against a scripted server."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from typing import Any

import pytest
import requests
from PIL import Image

from tests.deploy.aws.deployment import module

ready = module("ready")
DESCRIBED = [{"modelName": "captioner", "workers": [{"status": "READY"}, {"status": "UNLOADED"}]}]


def both(management: Any, prediction: Any) -> Callable[[Any], Any]:
    """Return a script for a server of both APIs: GET is management, POST is a prediction."""
    return lambda asked: management if asked.method == "GET" else prediction


def probe(scripted: Any, timeout: float = 10.0) -> tuple[bool, str]:
    answer: tuple[bool, str] = ready.check(scripted.url, scripted.url, timeout)
    return answer


def test_ready_is_a_worker_and_a_caption(scripted: Any) -> None:
    scripted.answer = both((200, DESCRIBED), (200, {"caption": "a dog"}))
    assert probe(scripted) == (True, "captioned")
    described, captioned = scripted.asked
    assert (described.method, described.path) == ("GET", "/models/captioner")
    assert (captioned.method, captioned.path) == ("POST", "/predictions/captioner")
    assert Image.open(io.BytesIO(captioned.body)).size == (32, 32)


def test_no_photo_is_sent_without_a_ready_worker(scripted: Any) -> None:
    unloaded = [{"workers": [{"status": "UNLOADED"}]}]
    scripted.answer = both((200, unloaded), (200, {"caption": "a dog"}))
    assert probe(scripted) == (False, "no worker is READY")
    assert len(scripted.asked) == 1


@pytest.mark.parametrize(
    ("management", "prediction", "reason"),
    [
        ((404, {}), None, "management: HTTP Error 404"),
        ((200, b"<html>"), None, "management: describes no model"),
        ((200, []), None, "management: describes no model"),
        ((200, DESCRIBED), (500, {"code": 500}), "prediction: HTTP Error 500"),
        ((200, DESCRIBED), (507, {"code": 507}), "prediction: HTTP Error 507"),
        ((200, DESCRIBED), (200, {"error": {}}), "prediction: no caption"),
        ((200, DESCRIBED), (200, b""), "prediction: no caption"),
        ((200, DESCRIBED), None, "prediction: Remote end closed connection"),
    ],
)
def test_a_failure_is_not_ready(
    scripted: Any, management: Any, prediction: Any, reason: str
) -> None:
    scripted.answer = both(management, prediction)
    is_ready, why = probe(scripted)
    assert not is_ready
    assert why.startswith(reason)


def test_without_a_server_it_is_not_ready() -> None:
    is_ready, why = ready.check("http://127.0.0.1:9", "http://127.0.0.1:9", 10.0)
    assert not is_ready
    assert why.startswith("management: ")


def test_a_full_queue_counts_as_ready(scripted: Any) -> None:
    scripted.answer = both((200, DESCRIBED), (503, {"code": 503}))
    assert probe(scripted) == (True, "busy: the queue is full")


@pytest.mark.parametrize(("waiting", "is_ready"), [(7, True), (0, False)])
def test_a_photo_that_waits_behind_others_counts_as_ready(
    scripted: Any, waiting: int, is_ready: bool
) -> None:
    described = [DESCRIBED[0] | {"jobQueueStatus": {"pendingRequests": waiting}}]
    given_up = threading.Event()

    def answer(asked: Any) -> Any:
        if asked.method == "POST":
            given_up.wait(60)
            return None
        return 200, described

    scripted.answer = answer
    found, why = probe(scripted, timeout=0.5)
    given_up.set()
    assert found is is_ready
    assert why == ("busy: 7 requests wait" if is_ready else "prediction: timed out")


def test_an_answer_is_kept_for_a_while() -> None:
    clock, answers = [100.0], iter([(False, "not yet"), (True, "captioned")])
    cache = ready.Cache(lambda: next(answers), 5.0, lambda: clock[0])
    assert cache() == cache() == (False, "not yet")
    clock[0] += 5.0
    assert cache() == (True, "captioned")


@pytest.mark.parametrize(("is_ready", "status"), [(True, 200), (False, 503)])
def test_the_load_balancer_gets_a_status(is_ready: bool, status: int) -> None:
    server = ready.server(("127.0.0.1", 0), lambda: (is_ready, "why: \u00e9"))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        reply = requests.get(f"{url}/ready", timeout=60)
        assert (reply.status_code, reply.text) == (status, "why: ?\n")
        for path in ("/", "/models"):
            assert requests.get(url + path, timeout=60).status_code == 404
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
