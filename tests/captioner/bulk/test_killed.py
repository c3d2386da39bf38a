"""Processes that are killed while they write a table: the next one goes on, and loses nothing."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from captioner.bulk.part import part_path
from tests.captioner.bulk.fakes import photos, write_table

ROOT = Path(__file__).resolve().parents[3]
PHOTOS = 2000
WRITE = f"""
import sys
from pathlib import Path
from tests.captioner.bulk.fakes import photos, write_table
write_table(Path(sys.argv[1]), photos({PHOTOS}))
"""


def kill_after(
    command: Sequence[object], table: Path, rows: int, folder: Path | None = None
) -> int:
    """Run a command, kill it once so many bytes of rows are written, and return its status."""
    process = subprocess.Popen(
        list(map(str, command)), cwd=folder or ROOT, stdout=subprocess.DEVNULL
    )
    while process.poll() is None:
        time.sleep(0.002)  # leaves the processor to the command
        try:
            written = part_path(table).stat().st_size
        except FileNotFoundError:
            continue
        if written >= rows:
            process.kill()
    return process.wait()


@pytest.mark.slow
@pytest.mark.parametrize(("ending", "kills"), [(".csv", 20), (".jsonl", 3), (".parquet", 3)])
def test_kills_lose_no_row_and_write_none_twice(ending: str, kills: int, tmp_path: Path) -> None:
    wanted, table = tmp_path / f"wanted{ending}", tmp_path / f"table{ending}"
    write_table(wanted, photos(PHOTOS))
    chosen, killed = random.Random(20), 0
    for _ in range(kills):
        begun = part_path(table).stat().st_size if part_path(table).exists() else 0
        status = kill_after(
            [sys.executable, "-c", WRITE, table], table, begun + chosen.randrange(9000)
        )
        killed += status == -signal.SIGKILL
        if status == 0:
            assert table.read_bytes() == wanted.read_bytes()
            table.unlink()
    assert killed >= kills // 2
    if not table.exists():
        write_table(table, photos(PHOTOS))
    assert table.read_bytes() == wanted.read_bytes()


@pytest.mark.slow
def test_kills_of_the_command_itself(tmp_path: Path, tiny_checkpoint: Path, render) -> None:
    """The same with a real captioner, whose figures are equal to the last digit."""
    folder = tmp_path / "photos"
    folder.mkdir()
    sizes = [(40 + i, 30 + i // 2) for i in range(110)]
    for i, size in enumerate(sizes):
        color, shape = ("red", "green", "blue")[i % 3], ("circle", "square")[i % 2]
        content = b"no photo" if i % 9 == 4 else render(color, shape, size)
        (folder / f"{i:03}.jpg").write_bytes(content)
    table = tmp_path / "table.csv"
    command = [sys.executable, "-m", "captioner", "caption", folder, "--out", table]
    command += ["--checkpoint", tiny_checkpoint, "--device", "cpu", "--num-captions", "2"]
    assert kill_after(command, table, 2**62) == 1  # not killed: some are no photos
    wanted = table.read_bytes()
    assert wanted.count(b"not an image") == 12
    table.unlink()
    for rows in (1, 20_000):
        assert kill_after(command, table, rows) == -signal.SIGKILL
    assert kill_after(command, table, 2**62) == 1
    assert table.read_bytes() == wanted
