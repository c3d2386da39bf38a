"""The load and its statistics, on a server whose answers are scripted; the figures mean nothing."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from benchmarks.load import (
    BUSY,
    LOST,
    OK,
    REFUSED,
    Caller,
    Load,
    Reply,
    Target,
    closed_loop,
    described,
    open_loop,
    percentile,
    wrong_replies,
)

PHOTOS = [b"a cat", b"a dog \r\n\r\n on grass", bytes(200_000)]
CAPTIONS = [str(len(photo)) for photo in PHOTOS]
CLOSE, SILENCE, TORN = "close", "silence", "torn"  # instead of a reply, or within it

Answer = tuple[int, str] | str


class Scripted:
    """Answers a photo with its size, or with what ``answer`` returns for that request."""

    def __init__(self, answer: Callable[[int], Answer | None] = lambda request: None) -> None:
        self.answer = answer
        self.requests = self.connections = self.at_once = self.most_at_once = 0
        self.heads: list[str] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = re.search(r"content-length: (\d+)", head.lower())
                assert length
                photo = await reader.readexactly(int(length[1]))
                self.heads.append(head)
                answer = self.answer(self.requests)
                self.requests += 1
                self.at_once += 1
                self.most_at_once = max(self.most_at_once, self.at_once)
                await asyncio.sleep(0.001)
                self.at_once -= 1
                if answer == CLOSE:
                    break
                if answer == SILENCE:
                    await asyncio.sleep(60)
                if answer is None or isinstance(answer, str):
                    status, body = 200, json.dumps({"caption": str(len(photo))})
                else:
                    status, body = answer
                size = len(body) + (5 if answer == TORN else 0)
                writer.write(
                    f"HTTP/1.1 {status} So\r\ncontent-LENGTH: {size}\r\n\r\n{body}".encode()
                )
                if answer == TORN or status >= 400:
                    break
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


def served(
    server: Scripted,
    load: Callable[[Target], Coroutine[Any, Any, list[Reply]]],
    timeout: float = 20,
) -> list[Reply]:
    """Send the load to the server; return its replies."""

    async def run() -> list[Reply]:
        listening = await asyncio.start_server(server, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        try:
            return await load(Target(port, PHOTOS, timeout=timeout))
        finally:
            listening.close()

    return asyncio.run(run())


def in_turn(count: int) -> itertools.islice[int]:
    return itertools.islice(itertools.cycle(range(len(PHOTOS))), count)


def test_a_client_keeps_its_connection() -> None:
    server = Scripted()
    replies = served(server, lambda target: closed_loop(target, in_turn(30), 3))
    assert server.connections == 3
    assert server.most_at_once <= 3
    assert Counter(reply.status for reply in replies) == {OK: 30}
    assert Counter(reply.photo for reply in replies) == {0: 10, 1: 10, 2: 10}
    assert wrong_replies(replies, CAPTIONS) == []
    assert all(0 < reply.seconds == pytest.approx(reply.end - reply.start) for reply in replies)
    assert all(head.startswith("PUT /predictions/captioner HTTP/1.1\r\n") for head in server.heads)


def test_a_busy_server_is_asked_again_on_a_new_connection() -> None:
    server = Scripted(lambda request: (503, '{"code": 503}') if request % 3 == 1 else None)
    replies = served(server, lambda target: closed_loop(target, in_turn(9), 1))
    assert [reply.status for reply in replies] == [OK, BUSY, OK] * 3
    assert [reply.caption is None for reply in replies] == [False, True, False] * 3
    assert server.connections == 4
    assert wrong_replies(replies, CAPTIONS) == []


@pytest.mark.slow
@pytest.mark.parametrize("how", [CLOSE, TORN, SILENCE])
def test_without_a_whole_reply_it_is_lost(how: str) -> None:
    server = Scripted(lambda request: how if request == 1 else None)
    replies = served(server, lambda target: closed_loop(target, in_turn(3), 1), timeout=2)
    assert [reply.status for reply in replies] == [OK, LOST, OK]
    assert replies[1].caption is None
    assert server.connections == 2


def test_without_a_server_it_is_refused() -> None:
    async def ask() -> Reply:
        listening = await asyncio.start_server(Scripted(), "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        listening.close()
        await listening.wait_closed()
        caller = Caller(Target(port, PHOTOS))
        try:
            return await caller.ask(0)
        finally:
            await caller.close()

    assert asyncio.run(ask()).status == REFUSED


@pytest.mark.parametrize(
    "body", ["", "no json", "[]", "{}", '{"caption": 5}', '{"caption": "another"}']
)
def test_what_is_not_the_photos_caption_is_wrong(body: str) -> None:
    server = Scripted(lambda request: (200, body) if request == 1 else None)
    replies = served(server, lambda target: closed_loop(target, in_turn(6), 1))
    assert [reply.status for reply in replies] == [OK] * 6
    assert wrong_replies(replies, CAPTIONS) == [replies[1]]


@pytest.mark.slow
def test_arrivals_do_not_wait_for_answers() -> None:
    server = Scripted(lambda request: SILENCE if request < 5 else None)
    before = time.perf_counter()
    replies = served(server, lambda target: open_loop(target, in_turn(20), 200.0), timeout=2)
    assert [reply.photo for reply in replies] == list(in_turn(20))
    assert Counter(reply.status for reply in replies) == {LOST: 5, OK: 15}
    starts = [reply.start for reply in replies]
    assert starts == sorted(starts)
    assert starts[-1] >= before + 18 / 200


def test_percentile() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert [percentile(values, share) for share in (0.01, 0.5, 0.99, 1)] == [1, 50, 99, 100]
    assert percentile([7.0], 0.99) == 7


def test_a_load_begins_where_the_one_before_ended() -> None:
    load = Load(Target(0, PHOTOS))
    assert [next(load.photos) for _ in range(4)] == [0, 1, 2, 0]
    assert load.keep([Reply(0, 0, 1, OK, "5")]) == load.replies


def test_counts_by_status_as_text() -> None:
    assert described(Counter([OK, OK, BUSY, LOST])) == "2 x 200, 1 x 503, 1 lost"
    assert described(Counter([REFUSED, LOST, REFUSED])) == "1 lost, 2 refused"
