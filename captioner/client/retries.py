"""When a failed request is sent again."""

from __future__ import annotations

import random
from dataclasses import dataclass

from captioner.client.errors import CaptionError, Unavailable

MAX_WAIT_SECONDS = 30.0  # between two attempts


@dataclass(frozen=True)
class Retries:
    """Number of retries, and the seconds before the first of them.

    Captioning changes nothing on the server, so a POST may be repeated like a GET.
    """

    count: int
    backoff: float

    def wait_after(self, failure: CaptionError, attempt: int) -> float:
        """Return the seconds to wait after a failed attempt, counted from 0.

        Raises
        ------
        CaptionError
            The failure itself: there is no further attempt.
        """
        if not isinstance(failure, Unavailable) or attempt >= self.count:
            raise failure
        if failure.retry_after > MAX_WAIT_SECONDS:
            raise failure
        longest: float = min(self.backoff * 2**attempt, MAX_WAIT_SECONDS)
        return failure.retry_after + longest * random.uniform(0.5, 1.0)
