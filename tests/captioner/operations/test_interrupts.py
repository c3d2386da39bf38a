"""SIGINT and SIGTERM while something must be whole, or undone."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import psutil
import pytest
import requests

from captioner.operations.deploy import _ask_golden
from captioner.operations.interrupts import Interrupts, aside
from captioner.operations.management import Management
from captioner.operations.shadow import Comparison, _ask
from captioner.operations.torchserve import Server


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interrupts():
            signal.raise_signal(signal.SIGINT)
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_both_interrupt_once(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    undone = []

    def work() -> None:
        with Interrupts():
            try:
                signal.raise_signal(number)
            finally:
                signal.raise_signal(number)  # an impatient second one
                undone.append(True)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert undone
    assert signal.getsignal(number) is before


def test_what_must_be_whole_is() -> None:
    done = []

    def work() -> None:
        with Interrupts() as interrupts:
            with interrupts.held():
                signal.raise_signal(signal.SIGTERM)
                done.append("whole")
            done.append("not")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["whole"]

    with Interrupts() as interrupts:
        with interrupts.held():
            done.append("again")
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
    assert done == ["whole", "again"]


@pytest.mark.parametrize("block", ["held", "held_after_failure"])
def test_undoing_is_not_interrupted(block: str) -> None:
    undone = []

    def work() -> None:
        with Interrupts() as interrupts:
            try:
                with getattr(interrupts, block)():
                    raise OSError("full")
            finally:
                signal.raise_signal(signal.SIGTERM)
                undone.append(True)

    with pytest.raises(OSError, match="full"):
        work()
    assert undone


def test_in_another_thread_it_does_nothing() -> None:
    before, inside = signal.getsignal(signal.SIGTERM), []

    def work() -> None:
        with Interrupts():
            inside.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert inside == [before]


class Finalized:
    """An object in whose finalizer a signal comes; Python drops what is raised there."""

    def __del__(self) -> None:
        with suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize("held", [False, True])
def test_what_a_finalizer_drops_is_raised_again(held: bool) -> None:
    done = []

    def work() -> None:
        with Interrupts() as interrupts:
            try:
                Finalized()
                if held:
                    with interrupts.held():
                        time.sleep(0.3)
                        done.append("whole")
                time.sleep(30)
                done.append("not")
            finally:
                time.sleep(0.3)  # undoing takes a while, and is not interrupted
                done.append("undone")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == (["whole"] if held else []) + ["undone"]


def test_an_alarm_of_the_caller_still_comes() -> None:
    alarms: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, _: alarms.append(number))
    try:
        with suppress(KeyboardInterrupt), Interrupts():
            signal.raise_signal(signal.SIGALRM)
            signal.setitimer(signal.ITIMER_REAL, 30)
            signal.raise_signal(signal.SIGTERM)
        assert alarms == [signal.SIGALRM]
        assert signal.setitimer(signal.ITIMER_REAL, 0)[0] > 0
    finally:
        signal.signal(signal.SIGALRM, before)


def test_one_within_another_gives_its_place_back() -> None:
    before, threads = signal.getsignal(signal.SIGTERM), threading.active_count()
    with Interrupts() as outer:
        with Interrupts() as inner:
            assert Interrupts.active is inner
        assert Interrupts.active is outer
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
    assert Interrupts.active is None
    assert signal.getsignal(signal.SIGTERM) is before
    assert threading.active_count() == threads


class SlowLock:
    """A lock of a library in Python: a signal comes when it is locked, before the block begins."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def __enter__(self) -> None:
        self.lock.acquire()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.2)

    def __exit__(self, *_: object) -> None:
        self.lock.release()


def test_what_is_called_aside_unlocks_what_it_locks() -> None:
    lock = SlowLock()

    def request() -> None:
        with lock:
            pass

    with pytest.raises(KeyboardInterrupt), Interrupts():
        aside(request)
    assert lock.lock.acquire(timeout=30)


def test_what_is_called_aside_is_waited_for_while_signals_are_held() -> None:
    done = []

    def request() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.2)
        done.append("request")

    def work() -> None:
        with Interrupts() as interrupts:
            with interrupts.held():
                aside(request)
                done.append("whole")
            done.append("not")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["request", "whole"]


def test_aside_returns_results_and_raises_errors() -> None:
    assert aside(threading.current_thread) is threading.main_thread()
    with Interrupts():
        assert aside(divmod, 7, 2) == (3, 1)
        with pytest.raises(ZeroDivisionError):
            aside(divmod, 7, 0)


class Asked(Exception):
    """A request was made."""


def ask_management(_: Path, __: SimpleNamespace) -> None:
    Management("http://127.0.0.1:8081", "captioner").versions()


def ask_for_first_caption(folder: Path, _: SimpleNamespace) -> None:
    with patch.object(Server, "process", psutil.Process):
        Server(folder).wait_for_caption("http://127.0.0.1:8080/", b"photo", 5)


def ask_golden(_: Path, client: SimpleNamespace) -> None:
    target = SimpleNamespace(open_client=lambda _: nullcontext(client))
    archive = SimpleNamespace(
        version="2.0", golden=[SimpleNamespace(photo=b"")], compare=lambda _: None
    )
    _ask_golden(target, archive)


def ask_in_shadow(_: Path, client: SimpleNamespace) -> None:
    _ask(client, SimpleNamespace(photo=b"", options={}), Comparison("1.0", "2.0"))


@pytest.mark.parametrize(
    "asking", [ask_management, ask_for_first_caption, ask_golden, ask_in_shadow]
)
def test_every_request_of_an_operation_is_made_aside(
    asking: Callable[[Path, SimpleNamespace], None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    threads = []

    def ask(*_: object, **__: object) -> None:
        threads.append(threading.current_thread())
        raise Asked

    monkeypatch.setattr(requests.Session, "request", ask)
    with pytest.raises(Asked), Interrupts():
        asking(tmp_path, SimpleNamespace(caption=ask))
    assert threads
    assert threading.main_thread() not in threads
