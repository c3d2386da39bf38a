"""Measuring: runs in turn, ratios of pairs, new processes, and the machine's description."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

# Of the machine's description: what makes products fast, as torch names it, and packages.
FLAGS = ("avx2", "avx512_f", "avx512_bf16", "amx_bf16", "neon", "neon_bf16", "sve", "sve2")
PACKAGES = ("torch", "torchvision", "timm", "pillow")
Timings = dict[str, list[float]]  # name of a run -> its seconds, one figure a round


def time_of(run: Callable[[], object]) -> float:
    """Return the seconds that one call takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def in_turn(runs: Mapping[str, Callable[[], object]], rounds: int, warm_up: bool = True) -> Timings:
    """Time runs in turn, A B C, A B C, ..., after one round that warms up.

    Whatever slows the machine for a while slows all runs of a round, so ratios within rounds hold.
    """
    for run in runs.values() if warm_up else ():
        run()
    timings: Timings = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            timings[name].append(time_of(run))
    return timings


def rounds_within(rounds: int, seconds: float, at_least: int = 1) -> Iterator[int]:
    """Yield the numbers of rounds, from 0, without those that would end after so many seconds.

    Parameters
    ----------
    at_least
        Rounds that are yielded however long they take.
    """
    start = time.monotonic()
    for done in range(rounds):
        if done >= at_least and (time.monotonic() - start) * (done + 1) / done > seconds:
            return
        yield done


def ratio(timings: Timings, slow: str, fast: str) -> float:
    """Return how many times as long as the fast run the slow one takes: the median over rounds."""
    return statistics.median(s / f for s, f in zip(timings[slow], timings[fast], strict=True))


def in_new_process(arguments: Sequence[str], **environment: str) -> Any:
    """Run Python with these arguments; return the last line that it prints, read as JSON.

    Raises
    ------
    RuntimeError
        The process failed; the message is the last line that it wrote to standard error.
    """
    done = subprocess.run(
        [sys.executable, *arguments], env=os.environ | environment, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError((done.stderr.strip() or f"status {done.returncode}").splitlines()[-1])
    return json.loads(done.stdout.splitlines()[-1])


def available_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine() -> dict[str, Any]:
    """Return what figures depend on besides this project's code: processor, threads, versions."""
    import torch  # here, because a process that times the import of torch must not have paid it

    capabilities = torch.cpu.get_capabilities()
    return {
        "cpu": _cpu_name(),
        "flags": [flag for flag in FLAGS if capabilities.get(flag)],
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
    } | {name: importlib.metadata.version(name) for name in PACKAGES}


def described(about: Mapping[str, Any]) -> str:
    """Say in one line what `machine` returned."""
    processor = " ".join([about["cpu"], *about["flags"]])
    versions = ", ".join(f"{name} {about[name]}" for name in PACKAGES)
    return f"{processor}; {about['threads']} threads of {about['cores']} cores; {versions}"


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
