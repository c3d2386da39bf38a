"""Load for a server on this machine: photos sent by many callers at once, and every reply kept.

The load shares the cores with the server that it measures. It is sent by httpx2, because its
asynchronous client has hundreds of requests under way in one thread, where `requests` would need a
thread for each. A request costs it 0.7 ms of a core, where captioning a photo takes 20 ms or more.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import httpx2

# In place of a status: the connection broke, or no reply came in time; nothing listens, so nothing
# was sent.
LOST, REFUSED = 0, -1
OK, BUSY = 200, 503
PAUSE = 0.05  # seconds that a caller waits after a reply that is no caption


@dataclass(frozen=True)
class Target:
    """The server that photos are sent to.

    Parameters
    ----------
    port
        On the loopback interface.
    photos
        JPEGs; requests name them by their position.
    path
        Of the predictions.
    timeout
        Seconds after which a request counts as lost.
    """

    port: int
    photos: Sequence[bytes]
    path: str = "/predictions/captioner"
    timeout: float = 60.0


@dataclass(frozen=True)
class Reply:
    """The outcome of one request."""

    photo: int  # its position
    start: float  # when it was sent, by `time.perf_counter`
    seconds: float
    status: int  # of HTTP, or `LOST` or `REFUSED`
    caption: str | None  # None unless the status is 200 and the body has a caption
    version: str | None = None  # the version that wrote the caption, as the body says

    @property
    def end(self) -> float:
        return self.start + self.seconds


class Caller:
    """One caller with one connection, which it keeps open as long as the server does."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._http: httpx2.AsyncClient | None = None

    async def ask(self, photo: int) -> Reply:
        """Send the photo of this position; return the outcome, whatever it is."""
        if self._http is None:
            # The environment's proxies are not for this machine.
            self._http = httpx2.AsyncClient(
                base_url=f"http://127.0.0.1:{self._target.port}",
                headers={"Content-Type": "image/jpeg"},
                timeout=None,
                trust_env=False,
                verify=False,
            )
        start = time.perf_counter()
        try:
            async with asyncio.timeout(self._target.timeout):
                answer = await self._http.put(self._target.path, content=self._target.photos[photo])
            status, body = answer.status_code, answer.content
        except httpx2.ConnectError:
            status, body = REFUSED, b""
        except (httpx2.HTTPError, TimeoutError):
            status, body = LOST, b""
        seconds = time.perf_counter() - start
        # TorchServe closes the connection after an error and does not always say so.
        if status in (LOST, REFUSED) or status >= 400:
            await self.close()
        caption, version = _caption_and_version(body) if status == OK else (None, None)
        return Reply(photo, start, seconds, status, caption, version)

    async def close(self) -> None:
        """Close the connection; the next request opens another."""
        http, self._http = self._http, None
        if http:
            await http.aclose()


async def closed_loop(
    target: Target, photos: Iterator[int], clients: int, replies: list[Reply] | None = None
) -> list[Reply]:
    """Let so many callers ask at once, each for the next photo once it has its reply.

    Parameters
    ----------
    photos
        Positions, which the callers share; they stop when there are no more.
    replies
        Receives each reply as it comes.
    """
    found = [] if replies is None else replies

    async def client() -> None:
        caller = Caller(target)
        try:
            for photo in photos:
                reply = await caller.ask(photo)
                found.append(reply)
                if reply.status != OK:
                    await asyncio.sleep(PAUSE)
        finally:
            await caller.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    return found


async def open_loop(target: Target, photos: Iterable[int], rate: float) -> list[Reply]:
    """Send so many photos a second, whether or not replies come; return all replies."""
    idle: list[Caller] = []

    async def ask(photo: int) -> Reply:
        caller = idle.pop() if idle else Caller(target)
        reply = await caller.ask(photo)
        idle.append(caller)
        return reply

    start = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        tasks = []
        for i, photo in enumerate(photos):
            await asyncio.sleep(max(0.0, start + i / rate - time.perf_counter()))
            tasks.append(group.create_task(ask(photo)))
    for caller in idle:
        await caller.close()
    return [task.result() for task in tasks]


@dataclass
class Load:
    """Sends load after load to a target, and keeps the replies of all of them."""

    target: Target
    replies: list[Reply] = field(default_factory=list)

    def __post_init__(self) -> None:
        # One load begins with the photo after the last one of the load before.
        self.photos: Iterator[int] = itertools.cycle(range(len(self.target.photos)))

    def send(self, count: int, clients: int) -> list[Reply]:
        """Send the next so many photos by a closed loop; return their replies."""
        photos = itertools.islice(self.photos, count)
        return self.keep(asyncio.run(closed_loop(self.target, photos, clients)))

    def keep(self, replies: list[Reply]) -> list[Reply]:
        """Keep the replies of a load that was sent otherwise; return them."""
        self.replies += replies
        return replies


def wrong_replies(replies: Iterable[Reply], captions: Sequence[str]) -> list[Reply]:
    """Return the replies whose caption is not the photo's.

    Parameters
    ----------
    captions
        The caption of each photo, by its position.
    """
    return [r for r in replies if r.status == OK and r.caption != captions[r.photo]]


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that this share of all does not exceed; 0 < share <= 1."""
    return sorted(values)[math.ceil(share * len(values)) - 1]


def count_by_status(replies: Iterable[Reply]) -> Counter[int]:
    """Return how many replies have which status."""
    return Counter(reply.status for reply in replies)


def described(statuses: Counter[int]) -> str:
    """Return counts by status as text, such as ``120 x 200, 3 x 503, 1 lost``."""
    words = {LOST: "lost", REFUSED: "refused"}
    answered = [f"{n} x {status}" for status, n in sorted(statuses.items()) if status not in words]
    return ", ".join(
        [*answered, *(f"{statuses[each]} {words[each]}" for each in words if statuses[each])]
    )


def _caption_and_version(body: bytes) -> tuple[str | None, str | None]:
    try:
        content = json.loads(body)
        caption, version = content["caption"], content.get("model", {}).get("version")
    except (ValueError, KeyError, TypeError, AttributeError):
        return None, None
    return (caption, version) if isinstance(caption, str) else (None, None)
