"""``benchmarks/gpu.sh``: its parts, its table and its exit status."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from captioner.paths import ROOT

# The parts, and words of their commands that no other command has.
PARTS = {
    "tests": "-m pytest",
    "caption": "caption --device",
    "serve": "benchmarks serve",
    "photos": "captioned_photos",
    "train": "distributed",
}
# In place of Python: notes what it is asked to run, on a machine with two GPUs.
STAND_IN = """#!/bin/sh
echo "$@" >> "$NOTES"
case "$*" in
    *device_count*) echo 2 ;;
    *get_device_name*) echo a GPU ;;
    *"$FAILS"*) exit 3 ;;
esac
"""


def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(ROOT / "benchmarks" / "gpu.sh"), *arguments],
        env=os.environ | {"TMPDIR": str(folder), "PYTHON": sys.executable} | environment,
        capture_output=True,
        text=True,
    )


def table(printed: str) -> dict[str, str]:
    """Return the results by the names of the parts, from the end of what the script printed."""
    rows = printed.splitlines()[-len(PARTS) - 1 : -1]
    return {row.split("  ")[0].strip(): re.split(r" {2,}", row)[1] for row in rows}


@pytest.mark.parametrize("fails", PARTS)
def test_the_other_parts_run_if_one_fails(tmp_path: Path, fails: str) -> None:
    (tmp_path / "python").write_text(STAND_IN)
    (tmp_path / "python").chmod(0o755)
    done = run(
        tmp_path,
        PYTHON=str(tmp_path / "python"),
        NOTES=str(tmp_path / "notes"),
        FAILS=PARTS[fails],
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert table(done.stdout) == {
        part: "failed, status 3" if part == fails else "ok" for part in PARTS
    }
    assert "a GPU, processes of the training: 2" in done.stdout
    notes = (tmp_path / "notes").read_text()
    assert "--device cuda" in notes
    assert "--nproc-per-node 2" in notes


@pytest.mark.slow
def test_without_a_gpu_nothing_is_run(tmp_path: Path) -> None:
    done = run(tmp_path, CUDA_VISIBLE_DEVICES="")
    assert (done.returncode, done.stdout) == (2, "")
    assert "torch finds no CUDA GPU on this machine" in done.stderr
    assert not list(tmp_path.iterdir())


def test_other_arguments_are_refused(tmp_path: Path) -> None:
    done = run(tmp_path, "--device", "abacus")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--device cpu; not --device abacus" in done.stderr


@pytest.mark.slow
def test_every_part_runs_on_a_cpu(tmp_path: Path) -> None:
    done = run(tmp_path, "--device", "cpu")
    assert table(done.stdout) == dict.fromkeys(PARTS, "ok"), done.stdout + done.stderr
    assert done.returncode == 0
    (logs,) = tmp_path.glob("captioner-gpu-*")
    assert f"logs: {logs}" in done.stdout
    assert {f"{part}.log" for part in PARTS} <= {each.name for each in logs.iterdir()}
    assert not list(logs.glob("checkpoint*"))
