"""Photos that are made to harm, for every server of a captioner: its worker lives on."""

from __future__ import annotations

import base64
import io
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psutil
import requests
from PIL import Image

from tests.hostile import hostile_photos


def check_hostile_photos(
    inference: str, find_worker: Callable[[], psutil.Process], count: int = 5000
) -> None:
    """Fail unless the worker lives on in bounded memory, and answers or refuses every photo.

    Parameters
    ----------
    inference
        The address of the server; requests beyond its capacity get status 503.
    find_worker
        Returns its only worker.
    count
        The number of photos.
    """
    url = f"{inference}/predictions/captioner"
    worker = find_worker()
    requests.put(url, data=next(iter(hostile_photos(1, seed=1))), timeout=60)
    before = worker.memory_info().rss
    sessions = threading.local()

    def ask(photo: bytes) -> int:
        if not hasattr(sessions, "one"):
            sessions.one = requests.Session()
        reply = sessions.one.put(url, data=photo, timeout=120)
        content = reply.json()
        assert "caption" in content or {"code", "message"} == content["error"].keys(), content
        assert (reply.status_code == 503) == (content.get("error", {}).get("code") == "busy"), (
            content
        )
        return reply.status_code

    with ThreadPoolExecutor(32) as pool:
        statuses = Counter(pool.map(ask, hostile_photos(count, seed=2)))
    assert statuses.keys() <= {200, 400, 413, 415, 503}, statuses
    assert statuses.total() == count
    assert min(statuses[200], statuses[400]) > count // 50, statuses  # some get through, some not
    assert find_worker().pid == worker.pid
    assert worker.memory_info().rss < before + 2**30


def check_bombs(inference: str, find_worker: Callable[[], psutil.Process], photo: bytes) -> None:
    """Fail unless requests of bombs are refused, and a photo beside them is captioned.

    Parameters
    ----------
    inference, find_worker
        See `check_hostile_photos`.
    photo
        A photo like any other.
    """
    url = f"{inference}/predictions/captioner"
    worker = find_worker()
    wanted = requests.put(url, data=photo, timeout=60).json()["caption"]
    one = base64.b64encode(bomb()).decode()
    many, single = ({"instances": [{"b64": one}] * count} for count in (32, 1))

    def attack(body: dict[str, object]) -> requests.Response:
        return requests.post(f"{inference}/v1/models/captioner:predict", json=body, timeout=50)

    # Each of the four is refused by itself; one bomb is a photo like any other.
    with ThreadPoolExecutor(16) as pool:
        attacks = [pool.submit(attack, many) for _ in range(4)]
        heavy = [pool.submit(attack, single) for _ in range(2)]
        photos = [pool.submit(requests.put, url, data=photo, timeout=50) for _ in range(4)]
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
    assert find_worker().pid == worker.pid


def bomb() -> bytes:
    """An AVIF of 49 million pixels in 2 kB."""
    buffer = io.BytesIO()
    Image.new("L", (7000, 7000), 100).save(buffer, "AVIF", speed=10)
    assert len(buffer.getvalue()) < 10_000
    return buffer.getvalue()
