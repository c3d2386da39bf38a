"""A version is removed only once every worker has answered what it took, however long it takes."""

from __future__ import annotations

import time
from collections import deque

import pytest

from captioner.operations import drain
from captioner.operations.drain import drain_and_unregister, wait_until_drained
from captioner.operations.management import ManagementError, RequestRefused, ServedVersion


class Version:
    """A version of TorchServe's: workers that are busy or idle, and a queue.

    Idle workers answer questions in turn. At every fifth question, and whenever all are busy, one
    worker finishes what it has in hand.
    """

    def __init__(self, busy: int, idle: int = 0, pending: int = 0, names_itself: bool = True):
        self.in_hand = {100 + i: i < busy for i in range(busy + idle)}
        self.free = deque(pid for pid, busy in self.in_hand.items() if not busy)
        self.pending, self.names_itself = pending, names_itself
        self.removed = False
        self.asked = 0

    def version(self, version: str) -> ServedVersion | None:
        pids = frozenset(self.in_hand)
        return ServedVersion(
            version, "a.mar", ["READY"] * len(pids), self.pending, pids, len(pids), 16, 7
        )

    def ask_worker(self, version: str, seconds: float) -> int | None:
        self.asked += 1
        if self.asked % 5 == 0:
            self.finish_one()
        while not self.free:  # the question waits until a worker takes it
            self.finish_one()
        self.free.rotate(1)
        return self.free[0] if self.names_itself else None

    def finish_one(self) -> None:
        for pid, busy in self.in_hand.items():
            if busy:
                self.pending = max(0, self.pending - 16)
                self.in_hand[pid] = self.pending > 0
                if not self.in_hand[pid]:
                    self.free.append(pid)
                return

    def unregister(self, version: str) -> None:
        assert not any(self.in_hand.values()), "a worker is killed with requests in hand"
        assert not self.pending
        self.removed = True


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "POLL_SECONDS", 0)


@pytest.mark.parametrize(("busy", "idle"), [(0, 1), (1, 0), (1, 1), (2, 1), (3, 0), (3, 5), (1, 7)])
@pytest.mark.parametrize("pending", [0, 5, 40])
def test_every_worker_has_answered(busy: int, idle: int, pending: int) -> None:
    version = Version(busy, idle, pending if busy else 0)
    drain_and_unregister(version, "1.0")
    assert version.removed


def test_a_version_that_the_server_lacks_is_not_removed() -> None:
    class Gone(Version):
        def version(self, version: str) -> None:
            return None

    gone = Gone(1)
    drain_and_unregister(gone, "1.0")
    assert not gone.removed


def test_a_version_without_workers_is_drained() -> None:
    assert wait_until_drained(Version(0), "1.0")


def test_a_queue_that_is_full_or_a_worker_that_dies_is_asked_again() -> None:
    class Full(Version):
        def ask_worker(self, version: str, seconds: float) -> int | None:
            if self.asked < 3:
                self.asked += 1
                raise RequestRefused("management: 503", 503)
            return super().ask_worker(version, seconds)

    version = Full(1)
    drain_and_unregister(version, "1.0")
    assert version.removed


def test_workers_of_an_earlier_captioner_do_not_say_who_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A single worker that answers is idle; with several, the time limit of a batch is waited."""
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        version.finish_one()

    monkeypatch.setattr(time, "sleep", sleep)
    version = Version(1, names_itself=False)
    drain_and_unregister(version, "1.0")
    assert version.removed
    assert not waited
    version = Version(1, 1, names_itself=False)
    drain_and_unregister(version, "1.0")
    assert version.removed
    assert waited == [7]


def test_the_wait_is_bounded_by_what_torchserve_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 10_000, 5))
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(Version, "finish_one", lambda _self: None)
    stuck = Version(1, 1, pending=33)
    with pytest.raises(ManagementError, match=r"within 35 s; 33 requests wait"):  # (1 + 3 + 1) * 7
        drain_and_unregister(stuck, "1.0")
    assert not stuck.removed
