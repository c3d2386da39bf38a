from __future__ import annotations

import copy
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor

import pytest
import torch

from model import Captioner, DecodingOptions, InvalidImage
from model.inference.lanes import Lanes, SpareLanes
from model.network import ShowAttendTell
from model.word_map import WordMap

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def describe_part(
    first: list[int], second: list[str], _: Executor | None
) -> tuple[list[int], list[str], int, int]:
    return first, second, torch.get_num_threads(), threading.get_ident()


@pytest.mark.parametrize(
    ("threads", "count", "sizes"),
    [
        (1, 9, [(9, 1)]),
        (2, 1, [(1, 1)]),
        (5, 1, [(1, 2)]),
        (2, 0, [(0, 2)]),
        (2, 2, [(1, 1), (1, 1)]),
        (2, 9, [(4, 1), (5, 1)]),
        (3, 9, [(3, 1), (6, 2)]),
        (3, 2, [(1, 1), (1, 2)]),
        (5, 32, [(12, 2), (20, 3)]),
    ],
)
def test_photos_and_threads_are_shared_out(
    threads: int, count: int, sizes: list[tuple[int, int]]
) -> None:
    torch.set_num_threads(threads)
    numbers, words = list(range(count)), [str(i) for i in range(count)]
    lanes = Lanes(CPU)
    parts = lanes.run(describe_part, list(numbers), words)
    assert [(len(first), used) for first, _, used, _ in parts] == sizes
    assert [number for first, *_ in parts for number in first] == numbers
    assert [word for _, second, *_ in parts for word in second] == words
    again = lanes.run(describe_part, list(numbers), words)
    assert [part[3] for part in again] == [part[3] for part in parts]  # the same threads


def test_other_threads_compute_as_before() -> None:
    torch.set_num_threads(4)
    lanes = Lanes(CPU)
    assert [part[2] for part in lanes.run(describe_part, [1, 2], ["", ""])] == [2, 2]
    assert torch.get_num_threads() == 4
    with ThreadPoolExecutor(1) as new:
        assert new.submit(torch.get_num_threads).result() == 4


def test_nothing_is_divided_where_another_device_computes() -> None:
    torch.set_num_threads(4)
    lanes = Lanes(torch.device("meta"))
    ((first, _, threads, thread),) = lanes.run(describe_part, [1, 2, 3], ["", "", ""])
    assert (first, threads, thread) == ([1, 2, 3], 4, threading.get_ident())


def test_an_error_in_either_lane_is_raised() -> None:
    def divide(first: list[int], second: list[int], _: Executor | None) -> list[float]:
        return [a / b for a, b in zip(first, second, strict=True)]

    torch.set_num_threads(2)
    lanes = Lanes(CPU)
    for divisors in ([0, 1], [1, 0]):
        with pytest.raises(ZeroDivisionError):
            lanes.run(divide, [1, 1], divisors)
    assert lanes.run(divide, [1, 1], [1, 1]) == [[1.0], [1.0]]


@pytest.mark.parametrize(("threads", "count", "idle"), [(1, 1, 0), (3, 0, 0), (3, 1, 2), (3, 2, 0)])
def test_a_photo_alone_is_given_the_other_lane(threads: int, count: int, idle: int) -> None:
    def compute_in(_: list[int], __: list[int], lane: Executor | None) -> int:
        return lane.submit(torch.get_num_threads).result() if lane else 0

    torch.set_num_threads(threads)
    parts = Lanes(CPU).run(compute_in, [1] * count, [1] * count)
    assert parts == [idle] * max(count, 1)


def threads_of(lanes: Lanes) -> set[int]:
    return {part[3] for part in lanes.run(describe_part, [1, 2], ["", ""])}


def test_lanes_are_used_again_but_by_one_at_a_time() -> None:
    torch.set_num_threads(2)
    spare = SpareLanes()
    with spare.borrow(CPU) as lanes, spare.borrow(CPU) as others:
        first, own = threads_of(lanes), threads_of(others)
        assert first.isdisjoint(own)
    with spare.borrow(CPU) as lanes:
        assert threads_of(lanes) == first
    with pytest.raises(RuntimeError), spare.borrow(CPU):
        raise RuntimeError
    with spare.borrow(CPU) as lanes:
        assert threads_of(lanes) == first
    with copy.deepcopy(spare).borrow(CPU) as others:
        assert threads_of(others).isdisjoint(first)
    started = [thread for thread in threading.enumerate() if thread.ident in first]
    del lanes, spare
    for thread in started:
        thread.join(timeout=30)
        assert not thread.is_alive()


def test_lanes_of_other_conditions_are_not_used_again() -> None:
    torch.set_num_threads(2)
    spare = SpareLanes()
    with spare.borrow(CPU) as lanes:
        threads_of(lanes)
    torch.set_num_threads(4)
    with spare.borrow(CPU) as lanes:
        parts = lanes.run(describe_part, [1, 2], ["", ""])
        assert [part[2] for part in parts] == [2, 2]
    with spare.borrow(torch.device("meta")) as lanes:
        assert threads_of(lanes) == {threading.get_ident()}


def test_a_forked_process_starts_lanes_of_its_own() -> None:
    torch.set_num_threads(2)
    spare = SpareLanes()
    with spare.borrow(CPU) as lanes:
        threads_of(lanes)
    child = os.fork()
    if child == 0:  # pragma: no cover
        count = 0
        try:
            with spare.borrow(CPU) as lanes:
                count = len(threads_of(lanes))
        finally:  # it may not go on with the other tests
            os._exit(0 if count == 2 else 1)
    deadline = time.monotonic() + 60
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < deadline:
        time.sleep(0.05)
    if ended == (0, 0):
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert ended == (child, 0)


@pytest.mark.parametrize("count", [1, 2, 7])
def test_captions_are_those_of_one_thread(
    count: int, network: ShowAttendTell, word_map: WordMap, render
) -> None:
    colors = ("red", "blue", "green", "yellow", "white", "grey", "black")
    photos = [render(color) for color in colors[:count]] + [b"not one"]
    facade = Captioner(network.double(), word_map)
    found = {}
    for threads in (1, 3):
        torch.set_num_threads(threads)
        found[threads] = facade.caption_each(photos, DecodingOptions(5, 3))
    for one, other in zip(found[1], found[3], strict=True):
        if isinstance(one, InvalidImage):
            assert str(one) == str(other)
        else:
            assert isinstance(other, list)
            assert [c.text for c in one] == [c.text for c in other]
            assert [c.log_prob for c in one] == pytest.approx([c.log_prob for c in other])
