"""Reading photos ahead of their turn, without holding many of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, TypeAlias

from captioner.bulk.photo import Photo, reason_of

MAX_PHOTOS_AHEAD = 32
MAX_BYTES_AHEAD = 2**27  # held at a time; one photo more may be, whatever its size
THREADS = 8  # files of a slow disk or an object store that are read at a time


class Unreadable(NamedTuple):
    """The content of a photo that cannot be read."""

    reason: str


Content: TypeAlias = bytes | Unreadable


def read_ahead(photos: Iterable[Photo]) -> Generator[tuple[Photo, Content], None, None]:
    """Yield photos with their bytes, in order, while threads read those that come next.

    At most `MAX_PHOTOS_AHEAD` photos are read or being read and not yet yielded.
    """
    remaining = iter(photos)
    reading: deque[tuple[Photo, Future[Content]]] = deque()
    with ThreadPoolExecutor(THREADS) as pool:

        def begin() -> None:
            while _has_room(reading) and (photo := next(remaining, None)) is not None:
                reading.append((photo, pool.submit(_read, photo)))

        try:
            begin()
            while reading:
                photo, future = reading.popleft()
                content = future.result()
                begin()
                yield photo, content
        finally:  # a caller that stops early waits for no photo that is not begun
            pool.shutdown(wait=False, cancel_futures=True)


def _has_room(reading: deque[tuple[Photo, Future[Content]]]) -> bool:
    """Return whether another photo may be read: few are held, and those are not large."""
    if len(reading) >= MAX_PHOTOS_AHEAD:
        return False
    held = sum(len(future.result()) for _, future in reading if future.done())
    return held < MAX_BYTES_AHEAD


def _read(photo: Photo) -> Content:
    try:
        return photo.read()
    except (OSError, ValueError) as error:  # pyarrow's errors are of both kinds
        return Unreadable(reason_of(error))
