"""Drain a version, that is wait until it has answered every request, and then remove it.

TorchServe kills the workers of a version that is removed, whatever they are doing.
"""

from __future__ import annotations

import logging
import math
import time

from captioner.operations.management import (
    Management,
    ManagementError,
    RequestRefused,
    ServedVersion,
)

log = logging.getLogger("captioner")

POLL_SECONDS = 0.2


def drain_and_unregister(management: Management, version: str) -> None:
    """Drain a version that is not the default, and remove it from the server.

    Raises
    ------
    ManagementError
        The version was not drained in time, or the server refuses; the version stays loaded.
    """
    if wait_until_drained(management, version):
        management.unregister(version)


def wait_until_drained(management: Management, version: str) -> bool:
    """Wait until a version has answered all earlier requests; False if the server has no such one.

    The requests of a version wait in one queue, first come, first served, and a worker takes
    nothing before it has answered what it took. Here the workers are asked for their process id, by
    a question that waits in that queue like a photo: a worker that answers it has nothing older in
    hand. Once every worker has answered and the queue is empty, the version is drained, however
    large its last batches were.

    Raises
    ------
    ManagementError
        The server does not answer, or the version takes longer than TorchServe lets its batches
        take.
    """
    served = management.version(version)
    if served is None:
        return False
    seconds = _max_seconds(served)
    deadline = time.monotonic() + seconds
    idle: set[int] = set()  # process ids of the workers that have answered
    while served is not None:
        if not served.pending and served.pids <= idle:
            return True
        left = deadline - time.monotonic()
        if left <= 0:
            raise ManagementError(
                f"it has not answered everything within {seconds} s; {served.pending} requests wait"
            )
        try:
            worker = management.ask_worker(version, left)
        except RequestRefused:  # its queue is full, or a worker has just died
            time.sleep(POLL_SECONDS)
            served = management.version(version)
            continue
        if worker is not None:
            answered = {worker}
        elif len(served.pids) > 1:
            log.info(
                "version %s is of an earlier release and does not say which worker answers:"
                " waiting the %d s that a batch of it may take",
                *(version, served.response_timeout),
            )
            time.sleep(served.response_timeout)
            return True
        else:
            answered = set(served.pids)
        if answered <= idle:
            time.sleep(POLL_SECONDS)  # the others are busy
        idle |= answered
        served = management.version(version)
    return False


def _max_seconds(served: ServedVersion) -> int:
    """Return the time after which TorchServe has ended every batch of a version.

    A worker that takes longer than ``response_timeout`` for its batch is replaced.
    """
    queued = math.ceil(served.pending / served.batch_size)
    in_hand, question = 1, 1
    return (queued + in_hand + question) * served.response_timeout
