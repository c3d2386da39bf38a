"""SIGINT and SIGTERM for an operation that undoes what it began when it is interrupted."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any, ClassVar, ParamSpec, Self, TypeVar

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

POLL_SECONDS = 0.05
AGAIN_SECONDS = 0.1


class Interrupts:
    """A context in which SIGINT and SIGTERM raise `KeyboardInterrupt` once, and can be held back.

    Only the first signal raises: a second one would interrupt the undoing that the first began.
    While signals are held, one that comes is kept until `release`. Python delivers signals to the
    main thread alone; in another thread this class does nothing. `active` is the one that is
    entered, if any.

    `KeyboardInterrupt` comes between any two instructions. Where a library has just locked
    something, that would stay locked, and the undoing wait for it forever: requests are made
    `aside`. In a finalizer Python drops it: a moment later it is raised again, unless it is being
    handled by then.
    """

    active: ClassVar[Interrupts | None] = None

    def __init__(self) -> None:
        self._held = self._raised = False
        self._pending = 0  # the signal that came while signals were held
        self._outer: Interrupts | None = None
        self._handlers_before: dict[int, Any] = {}
        self._to_repeat = SimpleQueue[int]()  # a signal handler may put into it; 0 is the end
        self._repeater = threading.Thread(
            target=self._repeat, args=(threading.get_ident(),), daemon=True
        )

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._repeater.start()
            for number in (signal.SIGINT, signal.SIGTERM):
                # A shell makes its background jobs ignore SIGINT; that must stay so.
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._handlers_before[number] = signal.signal(number, self._on_signal)
            self._outer, Interrupts.active = Interrupts.active, self
        return self

    def __exit__(self, _: object, error: object, __: object) -> None:
        if Interrupts.active is not self:
            return
        self.hold()
        Interrupts.active = self._outer
        self._to_repeat.put(0)
        self._repeater.join()  # what it sends after that would meet the handlers from before
        for number, handler in self._handlers_before.items():
            signal.signal(number, handler)
        if error is None:
            self.release()

    def hold(self) -> None:
        """Hold signals back from now on."""
        self._held = True

    def release(self) -> None:
        """Stop holding signals back, and raise `KeyboardInterrupt` if one came meanwhile."""
        self._held = False
        if self._pending:
            self._raise(self._pending)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold signals back for the block; if it fails they stay held, for the undoing."""
        self.hold()
        yield
        self.release()

    @contextmanager
    def held_after_failure(self) -> Iterator[None]:
        """Hold signals back once the block has failed, for the undoing."""
        try:
            yield
        except BaseException:
            self.hold()
            raise

    def wait_for(self, thread: threading.Thread) -> None:
        """Start a thread and wait for its end, or raise `KeyboardInterrupt` if a signal comes."""
        held_before, self._held = self._held, True  # `Thread` itself has such locks
        try:
            thread.start()
            while thread.is_alive() and (held_before or not self._pending):
                thread.join(POLL_SECONDS)
        finally:
            self._held = held_before
        if self._pending and not held_before:
            self._raise(self._pending)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self._raised and _is_being_handled(KeyboardInterrupt):
            return
        if self._held:
            self._pending = number
        else:
            self._raise(number)

    def _raise(self, number: int) -> None:
        self._raised, self._pending = True, 0
        self._to_repeat.put(number)
        raise KeyboardInterrupt

    def _repeat(self, thread_id: int) -> None:
        """Send a thread each signal that it raised once more, a moment later."""
        number = self._to_repeat.get()
        while number:
            try:
                number = self._to_repeat.get(timeout=AGAIN_SECONDS)
            except Empty:
                signal.pthread_kill(thread_id, number)
                number = self._to_repeat.get()


def _is_being_handled(kind: type[BaseException]) -> bool:
    """Return whether the main thread is in an ``except``, ``finally`` or ``with`` for an error."""
    error = sys.exc_info()[1]
    while error and not isinstance(error, kind):
        error = error.__context__
    return error is not None


def aside(
    function: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs
) -> Result:
    """Call a function and return its result; within `Interrupts`, in a thread of its own.

    `KeyboardInterrupt` then comes while this waits, never within the function, which goes on by
    itself.
    """
    active = Interrupts.active
    if active is None or threading.current_thread() is not threading.main_thread():
        return function(*args, **kwargs)
    result: Future[Result] = Future()

    def call() -> None:
        try:
            result.set_result(function(*args, **kwargs))
        except BaseException as error:
            result.set_exception(error)

    active.wait_for(threading.Thread(target=call, daemon=True))
    return result.result()
