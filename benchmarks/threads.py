"""The cost of how OpenMP's threads wait for work, on a quiet machine and on a busy one.

Threads that spin for long while they wait begin at once, but take the cores from other processes.
Threads that sleep at once leave the cores, but must be woken for every matrix product. The limit
that the captioner sets is compared with OpenMP's own and with others. On the busy machine one more
process a core computes without a pause.
"""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.measure import available_cores
from benchmarks.options import Options
from benchmarks.report import Line, Report, columns
from captioner.threads import SPIN_LIMITS, WAIT_POLICY

CHOSEN = "chosen"
# Ways to wait, by name: the environment variables of each. A count of 0 sleeps at once.
WAYS: dict[str, dict[str, str]] = {
    CHOSEN: SPIN_LIMITS,
    "as it comes": {},
    **{f"spin {count}": {"GOMP_SPINCOUNT": str(count)} for count in (0, 300, 3_000, 10_000)},
}
TASKS = ("alone", "batch")  # photos one after the other; all photos together
BATCH, QUICK_BATCH = 32, 2
# Computes until it is killed or its parent has ended.
NEIGHBOUR = "import os; parent = os.getppid()\nwhile os.getppid() == parent: pass"
MAX_SLOWDOWN = 1.5  # times as long as by the best way, on both machines

Milliseconds = dict[str, dict[str, list[float]]]  # task -> way -> a photo's, one figure a round


def bench(options: Options) -> Report:
    """Time processes that differ in how their threads wait, in turn, on a quiet and a busy machine.

    Each way has a process of its own, because OpenMP reads its settings once. Each round has
    another order, because a process after a long run of another one has the cores to itself.
    """
    from benchmarks.inputs import photos  # here, because --help should not wait for torch

    cores = available_cores()
    batch = QUICK_BATCH if options.quick else BATCH
    machines = {"quiet": 0, "busy": cores}
    measured: dict[str, Milliseconds] = {}
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        for i, photo in enumerate(photos(batch, options.photos)):
            (Path(name) / f"{i:05}.jpg").write_bytes(photo)
        command = ["-m", "benchmarks.child_process", "on_demand", str(options.checkpoint), name]
        ways = {way: stack.enter_context(_captioning_process(command, way, cores)) for way in WAYS}
        for machine, neighbours in machines.items():
            with _neighbours(neighbours):
                measured[machine] = _in_turn(ways, batch, options.rounds)
    print(described(measured, batch))
    lines = [
        Line(
            f"{task}, {machine} machine",
            _median(by_way[CHOSEN]) / min(map(_median, by_way.values())),
            "times as long as by the best way to wait",
            at_most=MAX_SLOWDOWN,
        )
        for machine, tasks in measured.items()
        for task, by_way in tasks.items()
    ]
    figures = {"milliseconds": measured, "ways": WAYS, "cores": cores, "batch": batch}
    return Report(figures, lines)


def described(measured: Mapping[str, Milliseconds], batch: int) -> str:
    """Return the median milliseconds a photo of each way, as a table."""
    columns_ = [(machine, task) for machine in measured for task in TASKS]
    rows = [["ms a photo", *(f"{machine}, {task}" for machine, task in columns_)]]
    for way, variables in WAYS.items():
        settings = ", ".join(f"{name} {value}" for name, value in variables.items())
        figures = [f"{_median(measured[machine][task][way]):.1f}" for machine, task in columns_]
        rows.append([f"{way} ({settings})" if way == CHOSEN else way, *figures])
    return f"{columns(rows)}\n(batch: {batch} photos together)"


def _in_turn(ways: Mapping[str, subprocess.Popen[str]], batch: int, rounds: int) -> Milliseconds:
    """Time each process on each task, in another order each round."""
    order = random.Random(0)
    found: Milliseconds = {task: {way: [] for way in ways} for task in TASKS}
    for _ in range(rounds):
        for task in TASKS:
            for way in order.sample(list(ways), len(ways)):
                found[task][way].append(1000 * _ask(ways[way], task) / batch)
    return found


def _ask(process: subprocess.Popen[str], task: str) -> float:
    """Have the process caption its photos; return the seconds.

    Raises
    ------
    RuntimeError
        The process has ended; its standard error shows why.
    """
    assert process.stdin
    assert process.stdout
    try:
        print(task, file=process.stdin, flush=True)
        return float(process.stdout.readline())
    except (BrokenPipeError, ValueError) as error:
        raise RuntimeError(
            "a process that captions has ended by itself; its error is printed above"
        ) from error


@contextmanager
def _captioning_process(
    command: Sequence[str], way: str, cores: int
) -> Iterator[subprocess.Popen[str]]:
    """Start a process that captions on demand, on all cores, and warm it up; kill it at the end."""
    environment = {n: v for n, v in os.environ.items() if n not in {WAIT_POLICY, *SPIN_LIMITS}}
    environment |= {"OMP_NUM_THREADS": str(cores), **WAYS[way]}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, *command], env=environment, stdin=pipe, stdout=pipe, text=True
    ) as process:
        try:
            for task in TASKS:
                _ask(process, task)
            yield process
        finally:
            process.kill()


@contextmanager
def _neighbours(count: int) -> Iterator[None]:
    """Run so many processes that only compute."""
    with ExitStack() as stack:
        for _ in range(count):
            process = stack.enter_context(subprocess.Popen([sys.executable, "-c", NEIGHBOUR]))
            stack.callback(process.kill)
        yield


def _median(values: Sequence[float]) -> float:
    return statistics.median(values)
