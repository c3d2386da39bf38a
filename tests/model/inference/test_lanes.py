from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor

import pytest
import torch

from model import Captioner, DecodingOptions, InvalidImage
from model.inference.lanes import Lanes
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
    with Lanes(CPU) as lanes:
        parts = lanes.run(describe_part, list(numbers), words)
        assert [(len(first), used) for first, _, used, _ in parts] == sizes
        assert [number for first, *_ in parts for number in first] == numbers
        assert [word for _, second, *_ in parts for word in second] == words
        again = lanes.run(describe_part, list(numbers), words)
        assert [part[3] for part in again] == [part[3] for part in parts]  # the same threads
    running = {thread.ident for thread in threading.enumerate()}
    assert running.isdisjoint({part[3] for part in parts} - {threading.get_ident()})


def test_other_threads_compute_as_before() -> None:
    torch.set_num_threads(4)
    with Lanes(CPU) as lanes:
        assert [part[2] for part in lanes.run(describe_part, [1, 2], ["", ""])] == [2, 2]
        assert torch.get_num_threads() == 4
        with ThreadPoolExecutor(1) as new:
            assert new.submit(torch.get_num_threads).result() == 4


def test_nothing_is_divided_where_another_device_computes() -> None:
    torch.set_num_threads(4)
    with Lanes(torch.device("meta")) as lanes:
        ((first, _, threads, thread),) = lanes.run(describe_part, [1, 2, 3], ["", "", ""])
    assert (first, threads, thread) == ([1, 2, 3], 4, threading.get_ident())


def test_an_error_in_either_lane_is_raised() -> None:
    def divide(first: list[int], second: list[int], _: Executor | None) -> list[float]:
        return [a / b for a, b in zip(first, second, strict=True)]

    torch.set_num_threads(2)
    for divisors in ([0, 1], [1, 0]):
        with Lanes(CPU) as lanes, pytest.raises(ZeroDivisionError):
            lanes.run(divide, [1, 1], divisors)


@pytest.mark.parametrize(("threads", "count", "idle"), [(1, 1, 0), (3, 0, 0), (3, 1, 2), (3, 2, 0)])
def test_a_photo_alone_is_given_the_other_lane(threads: int, count: int, idle: int) -> None:
    def compute_in(_: list[int], __: list[int], lane: Executor | None) -> int:
        return lane.submit(torch.get_num_threads).result() if lane else 0

    torch.set_num_threads(threads)
    with Lanes(CPU) as lanes:
        parts = lanes.run(compute_in, [1] * count, [1] * count)
    assert parts == [idle] * max(count, 1)


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
