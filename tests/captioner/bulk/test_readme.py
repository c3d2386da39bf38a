"""The README's commands for many photos run as they stand there, and go on after `kill -9`."""

from __future__ import annotations

import csv
import re
import signal
import sys
from pathlib import Path

import pytest

from captioner.bulk.part import part_path
from captioner.paths import ROOT
from tests.captioner.bulk.parts.test_parts_run import names, rows_of
from tests.captioner.bulk.test_killed import kill_after
from tests.captioner.contract import check_documented_line
from tests.conftest import RenderPhoto

README = (ROOT / "README.md").read_text()
LINES = re.findall(r"^captioner caption photos .*$", README, re.MULTILINE)
PHOTOS = 96  # three batches, so that rows are written before the last


@pytest.fixture
def folder(tmp_path: Path, render: RenderPhoto) -> Path:
    """A folder with a folder of photos in it."""
    (tmp_path / "photos").mkdir()
    for i in range(PHOTOS):
        content = render(("red", "green", "blue")[i % 3], ("circle", "square")[i % 2])
        (tmp_path / "photos" / f"{i:02}.jpg").write_bytes(content)
    return tmp_path


def line_with(text: str) -> str:
    (line,) = [each for each in LINES if text in each]
    return line


def captioned(table: Path) -> list[str]:
    with open(table, newline="") as file:
        return [row["photo"] for row in csv.DictReader(file) if row["caption"]]


PHOTO_NAMES = [f"photos/{i:02}.jpg" for i in range(PHOTOS)]


@pytest.mark.slow
def test_a_folder_into_a_table_goes_on_after_a_kill(folder: Path) -> None:
    line, table = line_with("captions.csv"), folder / "captions.csv"
    check_documented_line(line, folder)
    assert captioned(table) == PHOTO_NAMES
    undisturbed = table.read_bytes()
    table.unlink()
    arguments = line.partition("#")[0].split()[1:]
    command = [sys.executable, "-m", "captioner", *arguments]
    assert kill_after(command, table, rows=1, folder=folder) == -signal.SIGKILL
    assert part_path(table).exists()
    check_documented_line(line, folder)
    assert table.read_bytes() == undisturbed


@pytest.mark.slow
def test_sidecars_lie_beside_the_photos(folder: Path) -> None:
    check_documented_line(line_with("--sidecar xmp"), folder)
    files = [*PHOTO_NAMES, *(f"{name}.xmp" for name in PHOTO_NAMES)]
    assert names(folder / "photos") == sorted(Path(file).name for file in files)


@pytest.mark.slow
def test_ray_writes_parts(folder: Path) -> None:
    check_documented_line(line_with("--ray"), folder)
    assert names(folder / "captions") == ["part-00000.parquet", "run.json"]
    rows = rows_of(folder / "captions")
    assert [row["photo"] for row in rows if row["caption"]] == PHOTO_NAMES


def test_every_line_is_run() -> None:
    assert len(LINES) == 3
