"""The counts of `captioner bench serve`, on made-up replies."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import command
from benchmarks.known_photos import KnownPhotos
from benchmarks.load import LOST, OK, Reply
from benchmarks.serve import wrong_captions
from benchmarks.serve_faults import Kill, cost_of_kills
from captioner.paths import ROOT


def test_the_cost_of_kills() -> None:
    def reply(start: float, end: float, status: int = OK) -> Reply:
        return Reply(0, start, end - start, status, "5" if status == OK else None)

    replies = [
        reply(0, 1),
        reply(1, 3, 507),  # in the batch of the worker killed at 2
        reply(1, 3, 500),
        reply(1, 7),  # waited for the new worker, which says nothing about when it came back
        reply(3, 8),
        reply(8, 9, LOST),  # not an answer
        reply(9, 11, 507),  # counts for the next kill, after which nothing came back
        reply(9, 12),
    ]
    assert cost_of_kills(replies, [2, 10]) == [Kill(2, 6), Kill(1, math.inf)]


def test_wrong_captions_are_counted_and_printed(capsys: pytest.CaptureFixture[str]) -> None:
    photos = KnownPhotos([b"1", b"2", b"3"], ["a cat", "a dog", "nothing"], left_out=2, rate=1)
    replies = [Reply(0, 0, 1, OK, "a cat"), Reply(1, 0, 1, OK, "a cat"), Reply(2, 0, 1, 503, None)]
    report = wrong_captions(replies, photos)
    (line,) = report.lines
    assert (line.measured, line.unit, line.verdict) == (1, "of 2 served", "missed")
    assert report.figures["wrong_captions"] == [
        {"caption": "a dog", "served": "a cat", "another's": True}
    ]
    assert "a dog" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--server-type", "apache"], "'apache'; it must be one of torchserve, web"),
        (["--only", "kill,speed"], "'speed'; the parts of TorchServe are throughput, .*restart$"),
        (["--only", "slow"], "'slow'; the parts of TorchServe are"),
        (["--server-type", "web", "--only", "all"], "of captioner web are .*stop, slow, start$"),
    ],
)
def test_what_cannot_be_measured_is_named(options: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        command.main(["serve", *options])


@pytest.mark.slow
def test_the_web_server_beside_torchserve(tiny_checkpoint: Path, tmp_path: Path) -> None:
    options = ["--checkpoint", tiny_checkpoint, "--out", tmp_path, "--rounds", 1]
    parts = ["--server-type", "web", "--only", "latency,stop", "--quick"]
    done = subprocess.run(
        [sys.executable, "-m", "captioner", "bench", "serve", *map(str, [*options, *parts])],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    written = json.loads((tmp_path / "serve.json").read_text())
    assert written["figures"]["serve"]["server"] == "captioner web"
    assert "of the latency of TorchServe" in done.stdout
    lines = {line["name"]: line for line in written["lines"]}
    assert len(lines) == 4  # one of the two of latency
    for name in ("SIGTERM under load, lost or failed", "wrong captions"):
        assert lines[name]["measured"] == 0
