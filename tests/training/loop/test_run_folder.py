from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.trainings import brief, paused, start
from training.config import TrainingConfig
from training.loop import epoch
from training.loop.run_folder import RunFolder
from training.loop.state import TrainerState
from training.train import train


def test_a_run_folder_belongs_to_one_training(training: TrainingConfig, tmp_path: Path) -> None:
    other = start(training, tmp_path, "state-0-0001-000001.pt")
    try:
        assert paused(other)
        with pytest.raises(ValueError, match=f"in use by another training, process {other.pid}"):
            train(training, resume=True)
        with pytest.raises(ValueError, match="run is in use by another training"):
            train(dataclasses.replace(training, out=tmp_path / "other"))
    finally:
        other.kill()
        other.communicate()
    train(brief(training, run=tmp_path / "next"))  # and its own name is free


def test_run_folders_follow_the_whole_of_out(training: TrainingConfig, tmp_path: Path) -> None:
    outs = [tmp_path / name / "mine" for name in ("x", "y")]
    runs = [dataclasses.replace(training, run=None, out=out).run_folder for out in outs]
    assert runs == [tmp_path / "x" / "mine.run", tmp_path / "y" / "mine.run"]
    with pytest.raises(ValueError, match=r"out is '\.'; name the folder"):
        dataclasses.replace(training, out=Path())


@pytest.mark.parametrize("field", ["out", "run"])
def test_a_place_that_cannot_be_written_is_found_first(
    training: TrainingConfig, tmp_path: Path, field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(epoch, "train_one_epoch", lambda **_: pytest.fail("trained first"))
    change: dict[str, Any] = {field: tmp_path / "file" / "in" / "the-way"}
    with pytest.raises(ValueError, match=r"the-way.* cannot be written, because of .*file: Not a"):
        train(dataclasses.replace(training, **change))


def test_a_state_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any) -> None:
        raise RuntimeError("PytorchStreamWriter failed writing file")

    run = RunFolder(tmp_path)
    run.save_state(TrainerState(), {}, keep=2)
    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(ValueError, match=r"state-1-.* cannot be written, .* make room"):
        run.save_state(TrainerState(stage=1), {}, keep=2)
    assert [path.name for path in tmp_path.iterdir()] == ["state-0-0001-000000.pt"]
