"""Versions swapped on a real server; lost requests and wrong captions are counted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.known_photos import KnownPhotos
from benchmarks.load import LOST, OK, Reply
from benchmarks.swap import judge, write_in_capitals
from captioner.paths import ROOT
from model import Captioner

PHOTOS = KnownPhotos([b"", b""], ["a dog", "a cat"], 0, 1.0)


def replied(photo: int, caption: str | None, version: str | None, status: int = OK) -> Reply:
    return Reply(photo, 0.0, 0.1, status, caption, version)


def test_the_second_captioner_writes_the_same_in_capitals(
    tiny_checkpoint: Path, tmp_path: Path, render
) -> None:
    write_in_capitals(tiny_checkpoint, tmp_path / "capitals")
    photos = [render("red", "circle"), render("white", "square")]
    plain, capitals = (
        [captions[0].text for captions in Captioner.load(folder).caption(photos)]
        for folder in (tiny_checkpoint, tmp_path / "capitals")
    )
    assert capitals == [text.upper() for text in plain] != plain


def test_each_version_must_write_its_own_captions() -> None:
    good = [replied(0, "a dog", "1.0"), replied(1, "A CAT", "2.0"), replied(1, "a cat", "3.0")]
    of_another_photo = replied(0, "A CAT", "2.0")
    of_another_version = replied(1, "a cat", "2.0")
    lost, refused = replied(0, None, None, LOST), replied(0, None, None, 503)
    report = judge(PHOTOS, good, [1.0], [0.1], 1)
    assert [line.measured for line in report.lines[:2]] == [0, 0]
    assert all(line.verdict == "ok" for line in report.lines[:2])
    bad = [*good, of_another_photo, of_another_version, lost, refused]
    failed, wrong, _ = judge(PHOTOS, bad, [1.0], [0.1], 1).lines
    assert (failed.measured, failed.verdict) == (2, "missed")
    assert (wrong.measured, wrong.verdict) == (2, "missed")


@pytest.mark.slow
def test_swaps_on_a_real_server(tiny_checkpoint: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "captioner", "bench", "swap", "--quick"]
    options = ["--checkpoint", str(tiny_checkpoint), "--out", str(tmp_path)]
    done = subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "2 swaps and 1 rollbacks, lost or failed" in done.stdout
    figures = json.loads((tmp_path / "swap.json").read_text())
    assert figures["figures"]["swap"]["versions"] == 3
    assert [line["measured"] for line in figures["lines"][:2]] == [0, 0]
