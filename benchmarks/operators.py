"""Where a photo's time goes: the operators of torch that encode it and search its caption."""

from __future__ import annotations

import os
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks import inputs
from benchmarks.options import Options
from benchmarks.report import Report, columns
from model import Captioner, image

BATCH, BATCHES, ALONE = 32, 3, 20
QUICK_BATCH = 2
PRODUCTS, CONVOLUTIONS = "products", "convolutions"
MOVING, CHOOSING, ARITHMETIC = "moving", "choosing words and beams", "arithmetic"
OTHERS, BETWEEN = "other operators", "between operators"
# The kinds of operators, by parts of their names; the first that fits counts.
KINDS = {
    CONVOLUTIONS: ("convolution",),
    PRODUCTS: ("linear", "mm", "addmv", "dot"),
    CHOOSING: ("log_softmax", "topk", "scatter", "nonzero", "sort", "unique"),
    ARITHMETIC: ("add", "mul", "sub", "div", "sigmoid", "tanh", "softmax", "maximum", "mean"),
    MOVING: ("copy", "cat", "index", "gather", "where", "fill", "empty", "as_strided"),
}

Result = TypeVar("Result")


@dataclass
class Spent:
    """Where the time of some photos went.

    Attributes
    ----------
    seconds, calls
        Of each part and kind of operator, such as ``("search", "products")``.
    """

    seconds: defaultdict[tuple[str, str], float] = field(default_factory=lambda: defaultdict(float))
    calls: Counter[tuple[str, str]] = field(default_factory=Counter)

    def clock(self, part: str, kind: str, run: Callable[[], Result]) -> Result:
        """Run a part and add the seconds that it takes."""
        started = time.perf_counter()
        result = run()
        self.seconds[part, kind] += time.perf_counter() - started
        return result

    def profile(self, part: str, run: Callable[[], Result]) -> Result:
        """Run a part under torch's profiler, and tell the operators from what was between them.

        The profiler prolongs each operator by about a microsecond.
        """
        with profile(activities=[ProfilerActivity.CPU], acc_events=True) as profiler:
            result = run()
        for event in profiler.key_averages():
            kind, seconds = kind_of(event.key), event.self_cpu_time_total / 1e6
            self.seconds[part, kind] += seconds
            self.seconds[part, BETWEEN] -= seconds
            self.calls[part, kind] += event.count
        return result


def bench(options: Options) -> Report:
    """Caption photos in batches and one at a time by one thread, and print the parts of the time.

    One thread, because the time of an operator that several share is not that of a core.
    """
    captioner = Captioner.load(options.checkpoint)
    batch, batches, alone = (QUICK_BATCH, 1, 1) if options.quick else (BATCH, BATCHES, ALONE)
    photos = inputs.photos(batch * batches, options.photos)
    cases = {
        f"batches of {batch}": [photos[i : i + batch] for i in range(0, len(photos), batch)],
        "alone": [[photo] for photo in photos[:alone]],
    }
    os.environ.setdefault("KINETO_LOG_LEVEL", "10")  # the profiler's own reports
    with _one_thread():
        spent = {name: _spent(captioner, groups) for name, groups in cases.items()}
    counts = {name: sum(map(len, groups)) for name, groups in cases.items()}
    print(described(spent, counts))
    figures = {
        name: {
            "seconds_a_photo": {", ".join(k): v / counts[name] for k, v in each.seconds.items()},
            "calls": {", ".join(k): v / len(cases[name]) for k, v in each.calls.items()},
        }
        for name, each in spent.items()
    }
    return Report(figures)


def kind_of(operator: str) -> str:
    """Return the kind of an operator, by its name."""
    name = operator.partition("::")[2]
    fits = (kind for kind, parts in KINDS.items() if any(part in name for part in parts))
    return next(fits, OTHERS)


def described(spent: dict[str, Spent], photos: dict[str, int]) -> str:
    """Return a table of the milliseconds a photo of each part and kind."""
    rows = [["ms a photo", *spent]]
    for key in dict.fromkeys(key for each in spent.values() for key in sorted(each.seconds)):
        figures = [each.seconds[key] / photos[name] for name, each in spent.items()]
        rows.append([": ".join(filter(None, key)), *(f"{1e3 * each:.2f}" for each in figures)])
    totals = [sum(each.seconds.values()) / photos[name] for name, each in spent.items()]
    rows.append(["together", *(f"{1e3 * total:.2f}" for total in totals)])
    calls = [each.calls.total() / photos[name] for name, each in spent.items()]
    rows.append(["operators a photo", *(f"{count:.0f}" for count in calls)])
    return columns(rows)


def _spent(captioner: Captioner, groups: list[list[bytes]]) -> Spent:
    size, spent = captioner.network.config.image_size, Spent()

    def decode() -> list[torch.Tensor]:
        return [torch.stack([image.decode(each, size) for each in group]) for group in groups]

    def encode() -> list[torch.Tensor]:
        return [captioner.encode(photos) for photos in decoded]

    def search() -> None:
        for grid in grids:
            captioner.caption_grid(grid)

    decoded = spent.clock("decoding", "", decode)
    captioner.caption_photos(decoded[0])  # warms up
    grids = spent.clock("encoder", BETWEEN, encode)
    spent.clock("search", BETWEEN, search)
    # The profiler slows down what comes right after it, so it comes last.
    spent.profile("encoder", encode)
    spent.profile("search", search)
    return spent


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
