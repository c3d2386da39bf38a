"""``captioner bench busy``, on a tiny checkpoint; the figures mean nothing here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import busy, command


def options(checkpoint: Path, out: Path) -> list[str]:
    return ["busy", "--quick", "--checkpoint", str(checkpoint), "--out", str(out)]


def test_shares_are_of_the_same_round() -> None:
    task = busy.Task(8, 1)
    seconds = {
        (busy.OURS, 0): [1.0, 3.0, 1.0],
        (busy.OURS, 1): [2.0, 4.0, 4.0],  # 0.5, 0.75 and 0.25 of the speed
        (busy.OPENMP, 0): [0.5, 1.5, 2.0],
        (busy.OPENMP, 1): [20.0, 40.0, 60.0],
    }
    timings = {
        busy._run(setting, task, count): values for (setting, count), values in seconds.items()
    }
    lines = {line.name + line.unit: line for line in busy._shares(timings, [task], [0, 1])}
    share = lines["one at a time, beside 1 processof the photos a second when quiet"]
    assert (share.measured, share.threshold, share.verdict) == (0.5, "at least 0.45", "ok")
    quiet = lines["one at a time, quiettimes the speed with OpenMP's own setting"]
    assert (quiet.measured, quiet.verdict) == (0.5, "missed")
    beside = lines["one at a time, beside 1 processtimes the speed with OpenMP's own setting"]
    assert (beside.measured, beside.verdict) == (10.0, "")


@pytest.mark.slow
@pytest.mark.parametrize(("limit", "rounds"), [(1e6, 2), (0.0, 1)])
def test_every_setting_captions_beside_every_number_of_processes(
    limit: float,
    rounds: int,
    tiny_checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(busy, "MAX_SECONDS", limit)
    monkeypatch.setattr(busy, "available_cores", lambda: 2)
    command.main([*options(tiny_checkpoint, tmp_path), "--rounds", "2"])
    printed = capsys.readouterr().out
    assert f"(medians of {rounds} rounds)" in printed
    assert "batch 2, beside 2 processes" in printed
    figures: Any = json.loads((tmp_path / "busy.json").read_text())["figures"]["busy"]
    assert {name: len(seconds) for name, seconds in figures["seconds_a_photo"].items()} == {
        f"{setting}, {task}, {beside}": rounds
        for setting in busy.SETTINGS
        for task in ("batch 2", "one at a time")
        for beside in ("quiet", "beside 1 process", "beside 2 processes")
    }


@pytest.mark.slow
def test_a_process_that_fails(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(RuntimeError, match="ended by itself"):
        command.main(options(tmp_path / "empty", tmp_path / "out"))
