"""Many photos, threads and tasks, and the connections they share."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from captioner.client import AsyncCaptionClient, BadRequest, CaptionClient, Reply
from tests.captioner.client.both import CAPTIONERS_ERROR, PHOTO, PLAIN, one_after_another


def test_connections_are_kept(connect, scripted) -> None:
    scripted.answer = one_after_another(
        (200, PLAIN), (400, CAPTIONERS_ERROR), (200, PLAIN), (200, PLAIN)
    )
    client = connect(scripted.url)
    client.caption(PHOTO)
    with pytest.raises(BadRequest):
        client.caption(PHOTO)
    client.caption(PHOTO)
    client.explain(PHOTO)
    assert len({asked.peer for asked in scripted.asked}) == 1


def test_threads_share_a_client(scripted) -> None:
    scripted.answer = lambda asked: (200, PLAIN | {"caption": asked.body.decode()})
    with CaptionClient(scripted.url) as client, ThreadPoolExecutor(16) as pool:
        texts = pool.map(lambda i: client.caption(str(i).encode()).caption, range(200))
        assert list(texts) == [str(i) for i in range(200)]
    assert len({asked.peer for asked in scripted.asked}) <= 16


def test_tasks_share_a_client(scripted) -> None:
    scripted.answer = lambda asked: (200, PLAIN | {"caption": asked.body.decode()})

    async def ask() -> list[Reply]:
        async with AsyncCaptionClient(scripted.url) as client:
            return await asyncio.gather(*(client.caption(str(i).encode()) for i in range(50)))

    assert [reply.caption for reply in asyncio.run(ask())] == [str(i) for i in range(50)]


def test_many_photos_keep_their_order(connect, scripted, tmp_path: Path) -> None:
    """Four at a time, no more: the server answers nobody until four have come."""
    together, lock = threading.Barrier(4, timeout=60), threading.Lock()
    busy, most = 0, 0

    def answer(asked: Any) -> Any:
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        together.wait()
        with lock:
            busy -= 1
        if asked.body.startswith(b"bad"):
            return 400, CAPTIONERS_ERROR
        return 200, PLAIN | {"caption": asked.body.decode()}

    scripted.answer = answer
    photos: list[bytes | Path] = [
        f"{'bad' if i % 5 == 3 else 'good'} {i}".encode() for i in range(12)
    ]
    photos.insert(7, tmp_path / "missing.jpg")
    answers = connect(scripted.url, concurrency=4).caption_many(iter(photos), beam_size=2)
    assert most == 4
    assert len(answers) == 13
    for photo, found in zip(photos, answers, strict=True):
        if isinstance(photo, Path):
            assert isinstance(found, FileNotFoundError)
        elif photo.startswith(b"bad"):
            assert isinstance(found, BadRequest)
        else:
            assert found.caption == photo.decode()
    assert {asked.headers["x-caption-beam-size"] for asked in scripted.asked} == {"2"}


def test_a_file_is_opened_when_its_turn_comes(connect, scripted, tmp_path: Path) -> None:
    later = tmp_path / "later.jpg"

    def answer(asked: Any) -> Any:
        later.write_bytes(b"written while the first was captioned")
        return 200, PLAIN | {"caption": asked.body.decode()}

    scripted.answer = answer
    first, second = connect(scripted.url, concurrency=1).caption_many([b"first", later])
    assert (first.caption, second.caption) == ("first", "written while the first was captioned")


def counted(taken: list[int]) -> Iterator[bytes]:
    for i in itertools.count():
        taken.append(i)
        yield str(i).encode()


def test_a_stream_takes_photos_as_their_turn_comes(scripted) -> None:
    """An endless stream gives its first outcomes, and few photos more are taken than they need."""
    scripted.answer = lambda asked: (200, PLAIN | {"caption": asked.body.decode()})
    taken: list[int] = []
    with CaptionClient(scripted.url, concurrency=3) as client:
        outcomes = client.caption_stream(counted(taken))
        assert [next(outcomes).caption for _ in range(10)] == [str(i) for i in range(10)]
        outcomes.close()
    assert len(taken) <= 10 + 2 * 3


def test_an_asynchronous_stream_takes_photos_as_their_turn_comes(scripted) -> None:
    scripted.answer = lambda asked: (200, PLAIN | {"caption": asked.body.decode()})
    taken: list[int] = []

    async def ask() -> list[str]:
        found = []
        async with AsyncCaptionClient(scripted.url, concurrency=3) as client:
            outcomes = client.caption_stream(counted(taken))
            async for outcome in outcomes:
                found.append(outcome.caption)
                if len(found) == 10:
                    break
            await outcomes.aclose()
        return found

    assert asyncio.run(ask()) == [str(i) for i in range(10)]
    assert len(taken) <= 10 + 2 * 3
