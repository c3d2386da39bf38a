"""Captioning beside processes that compute without a pause, against the same on a quiet machine.

On a busy machine much depends on how OpenMP's threads wait for work, see `captioner.threads`. So
the captioner's setting is compared with OpenMP's own and with threads that sleep at once.
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
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import Timings, available_cores, ratio, rounds_within
from benchmarks.options import Options
from benchmarks.report import Line, Report, columns
from captioner.threads import SPIN_LIMITS, WAIT_POLICY

OURS, OPENMP = "the captioner's", "OpenMP's own"
# Settings of how threads wait, by name: the environment variables of each.
SETTINGS: dict[str, dict[str, str]] = {
    OURS: SPIN_LIMITS,
    OPENMP: {},
    "sleep at once": {"GOMP_SPINCOUNT": "0"},
}
# Computes until it is killed or its parent has ended.
NEIGHBOUR = """
import os
parent = os.getppid()
print(flush=True)
while os.getppid() == parent:
    pass
"""
MIN_SHARE = 0.45  # of the quiet photos a second, beside one process
MIN_QUIET = 0.8  # of the photos a second that OpenMP's own setting gives on a quiet machine
MAX_SECONDS = 150.0  # of all rounds; one more would end later


@dataclass(frozen=True)
class Task:
    """Photos to caption, so many together."""

    photos: int
    together: int

    @property
    def name(self) -> str:
        return f"batch {self.together}" if self.together > 1 else "one at a time"


TASKS = (Task(32, 32), Task(8, 1))
QUICK_TASKS = (Task(2, 2), Task(1, 1))


def bench(options: Options) -> Report:
    """Time processes that differ in their settings, beside none, one and many that only compute.

    Each setting has a process of its own, because OpenMP reads its settings once.
    """
    from benchmarks.inputs import photos  # here, because --help should not wait for torch

    cores = available_cores()
    tasks = QUICK_TASKS if options.quick else TASKS
    neighbours = sorted({0, 1, cores})
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        for i, photo in enumerate(photos(max(task.photos for task in tasks), options.photos)):
            (Path(folder) / f"{i:05}.jpg").write_bytes(photo)
        command = ["-m", "benchmarks.child_process", "on_demand", str(options.checkpoint), folder]
        processes = {
            setting: stack.enter_context(_captioning_process(command, setting, cores, tasks))
            for setting in SETTINGS
        }
        timings = _in_rounds(processes, tasks, neighbours, options.rounds)
    print(described(timings, tasks, neighbours))
    figures = {"seconds_a_photo": timings, "settings": SETTINGS, "cores": cores}
    return Report(figures, [*_shares(timings, tasks, neighbours)])


def described(timings: Timings, tasks: Sequence[Task], neighbours: Sequence[int]) -> str:
    """Return the median milliseconds a photo of each setting, as a table."""
    cases = [(task, count) for count in neighbours for task in tasks]
    rows = [["ms a photo", *(f"{task.name}, {_beside(count)}" for task, count in cases)]]
    for setting in SETTINGS:
        seconds = (statistics.median(timings[_run(setting, *case)]) for case in cases)
        rows.append([setting, *(f"{1e3 * each:.1f}" for each in seconds)])
    rounds = len(timings[_run(OURS, *cases[0])])
    return f"{columns(rows)}\n(medians of {rounds} rounds)"


def _shares(timings: Timings, tasks: Sequence[Task], neighbours: Sequence[int]) -> Iterator[Line]:
    """Yield what is left of the quiet speed, then the comparison with OpenMP's own setting."""
    for count in neighbours[1:]:
        for task in tasks:
            yield Line(
                f"{task.name}, {_beside(count)}",
                ratio(timings, _run(OURS, task, 0), _run(OURS, task, count)),
                "of the photos a second when quiet",
                at_least=MIN_SHARE if count == 1 else None,
            )
    for count in neighbours:
        for task in tasks:
            yield Line(
                f"{task.name}, {_beside(count)}",
                ratio(timings, _run(OPENMP, task, count), _run(OURS, task, count)),
                "times the speed with OpenMP's own setting",
                at_least=None if count else MIN_QUIET,
            )


def _run(setting: str, task: Task, neighbours: int) -> str:
    """Return the name of a setting's run of a task beside so many neighbours."""
    return f"{setting}, {task.name}, {_beside(neighbours)}"


def _beside(neighbours: int) -> str:
    if not neighbours:
        return "quiet"
    return f"beside {neighbours} process{'es' if neighbours > 1 else ''}"


def _in_rounds(
    processes: Mapping[str, subprocess.Popen[str]],
    tasks: Sequence[Task],
    neighbours: Sequence[int],
    rounds: int,
) -> Timings:
    """Return the seconds a photo of every run; fewer rounds if they take over `MAX_SECONDS`.

    Each round has another order, because a process after a long run of another one has the cores to
    itself.
    """
    order = random.Random(0)
    cases = [(setting, task) for setting in processes for task in tasks]
    timings: Timings = {_run(*case, count): [] for case in cases for count in neighbours}
    for _ in rounds_within(rounds, MAX_SECONDS):
        for count in neighbours:
            with _neighbours(count):
                for setting, task in order.sample(cases, len(cases)):
                    seconds = _ask(processes[setting], task) / task.photos
                    timings[_run(setting, task, count)].append(seconds)
    return timings


def _ask(process: subprocess.Popen[str], task: Task) -> float:
    """Have the process caption its photos; return the seconds.

    Raises
    ------
    RuntimeError
        The process has ended; its standard error shows why.
    """
    assert process.stdin
    assert process.stdout
    try:
        print(task.photos, task.together, file=process.stdin, flush=True)
        return float(process.stdout.readline())
    except (BrokenPipeError, ValueError) as error:
        raise RuntimeError(
            "a process that captions has ended by itself; its error is printed above"
        ) from error


@contextmanager
def _captioning_process(
    command: Sequence[str], setting: str, cores: int, tasks: Sequence[Task]
) -> Iterator[subprocess.Popen[str]]:
    """Start a process that captions on demand, on all cores, and warm it up; kill it at the end."""
    environment = {n: v for n, v in os.environ.items() if n not in {WAIT_POLICY, *SPIN_LIMITS}}
    environment |= {"OMP_NUM_THREADS": str(cores), **SETTINGS[setting]}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, *command], env=environment, stdin=pipe, stdout=pipe, text=True
    ) as process:
        try:
            for task in tasks:
                _ask(process, task)
            yield process
        finally:
            process.kill()


@contextmanager
def _neighbours(count: int) -> Iterator[None]:
    """Run so many processes that only compute."""
    with ExitStack() as stack:
        for _ in range(count):
            process = stack.enter_context(
                subprocess.Popen([sys.executable, "-c", NEIGHBOUR], stdout=subprocess.PIPE)
            )
            stack.callback(process.kill)
            assert process.stdout
            process.stdout.readline()  # it has begun
        yield
