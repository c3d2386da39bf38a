"""The encoder alone, as torch computes it for the captioner, and as other libraries do.

Each engine has a process of its own. They take turns, round by round.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import inputs
from benchmarks.encoder_process import ENGINES, OURS
from benchmarks.measure import ratio, rounds_within
from benchmarks.options import Options
from benchmarks.report import Line, Report, columns
from model import checkpoint, image

BATCH, QUICK_BATCH = 32, 2
PHOTOS = "photos.npy"
TASKS = ("batch", "alone")
MAX_START = 90.0  # seconds from the command to the first grid
MAX_QUICK_START = 600.0  # with --quick, which also runs on busy machines
MAX_SECONDS = 100.0  # of all rounds; one more would end later


class NotRunning(Exception):
    """An engine that does not run here; the message says why."""


@dataclass
class EngineProcess:
    """A process that runs `benchmarks.encoder_process`.

    Parameters
    ----------
    start
        Seconds from the command to the first grid.
    seconds
        Of one photo in each task, one figure a round.
    """

    process: subprocess.Popen[str]
    start: float
    seconds: dict[str, list[float]] = field(default_factory=lambda: {task: [] for task in TASKS})
    megabytes: float = 0.0

    def encode(self, task: str, photos: int) -> None:
        """Have all photos encoded, together or one by one, and keep the seconds of one."""
        assert self.process.stdin
        print(task, file=self.process.stdin, flush=True)
        self.seconds[task].append(_number(self.process) / photos)

    def end(self) -> None:
        """Have the process save its grids, and keep its peak memory."""
        assert self.process.stdin
        self.process.stdin.close()
        self.megabytes = _number(self.process)

    def milliseconds(self, task: str) -> float:
        """Return the median over the rounds, of one photo."""
        return 1000 * statistics.median(self.seconds[task])


def bench(options: Options) -> Report:
    """Encode the same photos by every engine that runs here; name the others.

    Raises
    ------
    RuntimeError
        The first engine does not run, or another one has ended by itself.
    """
    batch, limit = (QUICK_BATCH, MAX_QUICK_START) if options.quick else (BATCH, MAX_START)
    engines = {name: each for name, each in ENGINES.items() if each.quick or not options.quick}
    running: dict[str, EngineProcess] = {}
    absent: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        np.save(folder / PHOTOS, _photos(options, batch))
        for engine in engines:
            try:
                _check_installed(engines[engine].packages)
                command = [engine, str(options.checkpoint), *map(str, _files(folder, engine))]
                if engines[engine].quick and not options.quick:
                    with _started(command, folder, limit):  # which fills the disk's cache
                        pass
                running[engine] = stack.enter_context(_started(command, folder, limit))
            except NotRunning as error:
                absent[engine] = str(error)
        if OURS in absent:
            raise RuntimeError(f"{OURS}: {absent[OURS]}")
        rounds = _in_rounds([*running.values()], batch, options.rounds)
        for process in running.values():
            process.end()
        errors = _errors({engine: np.load(_files(folder, engine)[1]) for engine in running})
    print(described(running, errors, batch))
    print("".join(f"{engine}: {why}\n" for engine, why in absent.items()), end="")
    print(f"(medians of {rounds} rounds, {torch.get_num_threads()} threads)")
    figures = {
        engine: {
            "seconds_a_photo": each.seconds,
            "start": each.start,
            "megabytes": each.megabytes,
            "error": errors[engine],
            "installed_megabytes": installed_megabytes(engines[engine].packages),
        }
        for engine, each in running.items()
    }
    return Report({"engines": figures, "absent": absent, "batch": batch}, [*_lines(running)])


def described(running: Mapping[str, EngineProcess], errors: Mapping[str, float], batch: int) -> str:
    """Return a table with a row for each engine that ran."""
    head = [
        "encoder",
        f"photos/s, batch {batch}",
        "ms alone",
        "start, s",
        "MB",
        "error",
        "MB on disk",
    ]
    rows = [head]
    for engine, process in running.items():
        installed = installed_megabytes(ENGINES[engine].packages)
        rows.append(
            [
                engine,
                f"{1000 / process.milliseconds('batch'):.1f}",
                f"{process.milliseconds('alone'):.1f}",
                f"{process.start:.1f}",
                f"{process.megabytes:.0f}",
                f"{errors[engine]:.0e}",
                f"{installed:.0f}" if installed else "none more",
            ]
        )
    return columns(rows)


def installed_megabytes(packages: Sequence[str]) -> float:
    """Return the size of packages on disk, without what they need themselves."""
    files = [
        Path(str(file.locate()))
        for package in packages
        for file in importlib.metadata.files(package) or ()
    ]
    return sum(path.stat().st_size for path in files if path.is_file()) / 1e6


def _lines(running: Mapping[str, EngineProcess]) -> Iterator[Line]:
    for task in TASKS:
        for engine, process in running.items():
            baseline = ENGINES[engine].baseline
            if engine != baseline and baseline in running:
                timings = {engine: process.seconds[task], baseline: running[baseline].seconds[task]}
                yield Line(
                    f"{engine}, {task}",
                    ratio(timings, baseline, engine),
                    "times the speed of torch, prepared",
                )


def _photos(options: Options, count: int) -> NDArray[np.uint8]:
    size = checkpoint.load(options.checkpoint)[0].config.image_size
    decoded = [image.decode(photo, size) for photo in inputs.photos(count, options.photos)]
    stacked: NDArray[np.uint8] = torch.stack(decoded).numpy()
    return stacked


def _check_installed(packages: Sequence[str]) -> None:
    if any(importlib.util.find_spec(package) is None for package in packages):
        raise NotRunning(f"not installed, pip install {' '.join(packages)}")


@contextmanager
def _started(arguments: Sequence[str], temporary: Path, limit: float) -> Iterator[EngineProcess]:
    """Start a process and wait for its first grid; kill it at the end.

    Raises
    ------
    NotRunning
        It failed, or was not ready within the limit of seconds.
    """
    pipe, errors = subprocess.PIPE, temporary / "errors"
    command = [sys.executable, "-m", "benchmarks.encoder_process", *arguments]
    # Compiled code of an earlier run would make this start look quick.
    environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(temporary / "inductor")}
    start = time.perf_counter()
    with (
        errors.open("w") as file,
        subprocess.Popen(
            command, env=environment, stdin=pipe, stdout=pipe, stderr=file, text=True
        ) as process,
    ):
        timer = threading.Timer(limit, process.kill)
        try:
            timer.start()
            if not _line(process):
                raise NotRunning(_reason(errors.read_text(), time.perf_counter() - start, limit))
            timer.cancel()
            yield EngineProcess(process, time.perf_counter() - start)
        finally:
            timer.cancel()
            process.kill()


def _reason(errors: str, seconds: float, limit: float) -> str:
    """Return why a process wrote no line: it was killed, or failed by itself."""
    if seconds > limit:
        return f"no grid after {limit:.0f} s"
    return f"failed: {(errors.strip() or 'without a message').splitlines()[-1]}"


def _line(process: subprocess.Popen[str]) -> str:
    """Return the next line that the process prints, empty if it has ended."""
    assert process.stdout
    return process.stdout.readline()


def _number(process: subprocess.Popen[str]) -> float:
    """Return the next line as a number; raises `RuntimeError` if the process has ended."""
    if line := _line(process):
        return float(line)
    raise RuntimeError(f"the process {process.args!r} has ended by itself")


def _in_rounds(running: Sequence[EngineProcess], photos: int, rounds: int) -> int:
    """Time all engines on all tasks, in another order each round; return how many rounds.

    A first round warms up. Rounds for which there is no time are left out.
    """
    order, done = random.Random(0), 0
    for done in rounds_within(rounds + 1, MAX_SECONDS, at_least=2):
        for task in TASKS:
            for process in order.sample(running, len(running)):
                process.encode(task, photos)
                if not done:
                    process.seconds[task].clear()
    return done


def _errors(grids: Mapping[str, NDArray[np.float32]]) -> dict[str, float]:
    """Return how far grids are from those of our float32, relative to their size."""
    wanted = grids[OURS]
    size = float(np.linalg.norm(wanted))
    return {name: float(np.linalg.norm(grid - wanted)) / size for name, grid in grids.items()}


def _files(folder: Path, engine: str) -> tuple[Path, Path]:
    """Return the file of the photos and that of an engine's grids."""
    return folder / PHOTOS, folder / f"{engine}.npy"
