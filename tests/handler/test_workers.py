from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from handler.workers import Workers

OTHER = """
import sys
from pathlib import Path
from handler.workers import Workers
Workers(Path(sys.argv[1]))
print("counted", flush=True)
sys.stdin.read()
"""


def test_living_workers_are_counted(tmp_path: Path) -> None:
    workers = Workers(tmp_path)
    assert workers.count() == 1
    with subprocess.Popen(
        [sys.executable, "-c", OTHER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout
        assert other.stdout.readline() == b"counted\n"
        assert workers.count() == 2
        other.kill()  # as TorchServe does
    assert workers.count() == 1


def test_a_worker_that_cannot_write_counts_itself(tmp_path: Path) -> None:
    assert Workers(tmp_path / "none").count() == 1
