"""Photos that are made to harm: the worker lives on, and its neighbours' requests are answered."""

from __future__ import annotations

import base64
import io
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from PIL import Image

from tests.captioner.operations.servers import RunningServer
from tests.hostile import hostile_photos

pytestmark = pytest.mark.slow


def test_hostile_photos_over_http(server: RunningServer) -> None:
    """The worker lives on in bounded memory; requests beyond its capacity get status 503."""
    worker = server.worker
    requests.put(server.url, data=next(iter(hostile_photos(1, seed=1))), timeout=60)
    before = worker.memory_info().rss
    sessions = threading.local()

    def ask(photo: bytes) -> int:
        if not hasattr(sessions, "one"):
            sessions.one = requests.Session()
        reply = sessions.one.put(server.url, data=photo, timeout=120)
        content = reply.json()
        assert "caption" in content or {"code", "message"} == content["error"].keys(), content
        assert (reply.status_code == 503) == (content.get("error", {}).get("code") == "busy"), (
            content
        )
        return reply.status_code

    with ThreadPoolExecutor(32) as pool:
        statuses = Counter(pool.map(ask, hostile_photos(5000, seed=2)))
    assert statuses.keys() <= {200, 400, 413, 415, 503}, statuses
    assert statuses.total() == 5000
    assert min(statuses[200], statuses[400]) > 100, statuses  # some get through, some do not
    assert server.worker.pid == worker.pid
    assert worker.memory_info().rss < before + 2**30


def bomb() -> bytes:
    """An AVIF of 49 million pixels in 2 kB."""
    buffer = io.BytesIO()
    Image.new("L", (7000, 7000), 100).save(buffer, "AVIF", speed=10)
    assert len(buffer.getvalue()) < 10_000
    return buffer.getvalue()


def test_a_request_of_bombs_is_refused_and_its_neighbour_is_captioned(
    server: RunningServer, render
) -> None:
    worker = server.worker
    photo = render()
    wanted = requests.put(server.url, data=photo, timeout=60).json()["caption"]
    one = base64.b64encode(bomb()).decode()
    many, single = ({"instances": [{"b64": one}] * count} for count in (32, 1))

    def attack(body: dict[str, object]) -> requests.Response:
        url = f"{server.inference}/v1/models/captioner:predict"
        return requests.post(url, json=body, timeout=50)

    # Each of the four is refused by itself; one bomb is a photo like any other.
    with ThreadPoolExecutor(16) as pool:
        attacks = [pool.submit(attack, many) for _ in range(4)]
        heavy = [pool.submit(attack, single) for _ in range(2)]
        photos = [pool.submit(requests.put, server.url, data=photo, timeout=50) for _ in range(4)]
        for asked in attacks:
            reply = asked.result()
            assert (reply.status_code, reply.json()["error"]["code"]) == (413, "too_large")
            assert "32 photos together have 1,568,000,000 pixels" in reply.text
        for asked in photos:
            assert asked.result().json()["caption"] == wanted
        for asked in heavy:
            reply = asked.result()
            if reply.status_code == 503:
                assert reply.json()["error"]["code"] == "busy"
                assert int(reply.headers["Retry-After"]) > 0
            else:
                assert len(reply.json()["predictions"]) == 1
        assert any(asked.result().ok for asked in heavy)
    assert server.worker.pid == worker.pid
