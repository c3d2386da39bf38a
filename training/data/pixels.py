"""The pixels of prepared photos: decoded by threads, and written so that a kill loses little."""

from __future__ import annotations

import io
import json
import logging
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np

from model import image
from model.files import write_whole
from training.data.photo import Photo
from training.data.plan import Plan, require_same
from training.data.prepared import PIXELS, read_object
from training.data.problems import UNREADABLE, InvalidDataset, Problem
from training.reporting.progress import progress

log = logging.getLogger("captioner")

# These files are there only while a preparation is under way.
PART, STATE = PIXELS + ".part", "progress.json"
SAVE_EVERY = 256  # photos between two points that a killed preparation can go on from
DECODED_AHEAD = 8  # photos for each thread that may wait in memory to be written

T = TypeVar("T")
R = TypeVar("R")


def write_pixels(
    photos: list[Photo],
    out: Path,
    plan: Plan,
    threads: int | None,
    judge: Callable[[list[Problem]], None],
) -> list[Problem]:
    """Write ``photos.npy`` in order, or the rest of it; return the photos that cannot be decoded.

    Parameters
    ----------
    judge
        Called now and then with those photos; what it raises ends the work.

    Raises
    ------
    InvalidDataset
        The disk is too small, or ``out`` holds something else.
    """
    size: int = plan["image_size"]
    done, unreadable = _resumed(out, plan)
    if (out / PIXELS).exists():  # killed before the description was written
        if done != len(photos):
            raise InvalidDataset(f"{out} holds a {PIXELS} of something else; choose another --out")
        return unreadable
    _require_space(out, (len(photos) - done) * 3 * size**2)

    def decoded(photo: Photo) -> bytes | Problem:
        try:
            return image.decode(photo.read_bytes(), size).numpy().tobytes()
        except (OSError, image.InvalidImage) as error:
            return Problem(UNREADABLE, photo.name, str(error))

    threads = threads or os.cpu_count() or 1
    with open(out / PART, "ab") as file, ThreadPoolExecutor(threads) as pool:
        if done == 0:
            file.truncate(0)
            file.write(_npy_header(0, size))
        else:
            file.truncate(_npy_bytes(done - len(unreadable), size))
        rows = _in_order(pool, decoded, photos[done:], DECODED_AHEAD * threads)
        for result in progress(rows, len(photos), f"decoding {len(photos)} photos", done):
            done += 1
            if isinstance(result, Problem):
                unreadable.append(result)
            else:
                file.write(result)
            if done % SAVE_EVERY == 0 or done == len(photos):
                judge(unreadable)
                _sync(file)
                _write_state(out, plan, done, unreadable)
    with open(out / PART, "r+b") as part:
        part.write(_npy_header(len(photos) - len(unreadable), size))
        _sync(part)
    (out / PART).replace(out / PIXELS)
    return unreadable


def _require_space(out: Path, needed: int) -> None:
    free = shutil.disk_usage(out).free
    if needed > free:
        raise InvalidDataset(
            f"{out}: the photos take {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free there;"
            " choose another --out or a smaller image size"
        )


def _write_state(out: Path, plan: Plan, done: int, unreadable: list[Problem]) -> None:
    found = {problem.name: problem.detail for problem in unreadable}
    state = plan | {"done": done, "unreadable": found}
    write_whole(out / STATE, (json.dumps(state, indent=1) + "\n").encode())


def _resumed(out: Path, plan: Plan) -> tuple[int, list[Problem]]:
    """Return how many photos a killed preparation has done, and those it could not decode."""
    if not (out / STATE).exists():
        return 0, []
    state = read_object(out / STATE)
    require_same(out, plan, state)
    done, unreadable = state["done"], state["unreadable"]
    written = next((path for path in (out / PART, out / PIXELS) if path.exists()), None)
    expected = _npy_bytes(done - len(unreadable), plan["image_size"])
    if written is None or written.stat().st_size < expected:
        return 0, []
    log.info("going on after the first %d photos", done)
    return done, [Problem(UNREADABLE, name, why) for name, why in unreadable.items()]


def _in_order(
    pool: ThreadPoolExecutor, work: Callable[[T], R], items: Iterable[T], window: int
) -> Iterator[R]:
    """Yield the results in the order of the items; at most ``window`` of them wait in memory."""
    waiting: deque[Future[R]] = deque()
    for item in items:
        waiting.append(pool.submit(work, item))
        if len(waiting) >= window:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _npy_header(count: int, size: int) -> bytes:
    """Return a header of one length for every count: NumPy leaves room for the count to grow."""
    buffer = io.BytesIO()
    kind = {"descr": "|u1", "fortran_order": False, "shape": (count, 3, size, size)}
    np.lib.format.write_array_header_1_0(buffer, kind)
    return buffer.getvalue()


def _npy_bytes(count: int, size: int) -> int:
    return len(_npy_header(count, size)) + count * 3 * size**2


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
