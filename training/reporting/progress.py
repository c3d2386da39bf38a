"""The progress of long work: a bar on a terminal, and elsewhere a line in the log now and then."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

log = logging.getLogger("captioner")

T = TypeVar("T")

SECONDS_BETWEEN_LINES = 30.0


def progress(items: Iterable[T], total: int | None, what: str, done: int = 0) -> Iterator[T]:
    """Yield the items, and show how many of them have passed.

    Parameters
    ----------
    total
        The number of all items, with those that have passed before; None if it is not known.
    what
        Names the work, such as ``epoch 3``.
    done
        How many items have passed before.
    """
    if sys.stderr.isatty():
        yield from tqdm(items, total=total, desc=what, leave=False, initial=done)
        return
    last = time.monotonic()
    for passed, item in enumerate(items, done):
        if time.monotonic() - last > SECONDS_BETWEEN_LINES:
            log.info("%s: %d%s", what, passed, "" if total is None else f" of {total}")
            last = time.monotonic()
        yield item
