"""SIGINT and SIGTERM while something must be whole, or undone."""

from __future__ import annotations

import signal
import threading

import pytest

from captioner.operations.interrupts import Interrupts


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
