"""Trainings that are stopped or killed, and go on from a state."""

from __future__ import annotations

import dataclasses
import signal
from pathlib import Path

import pytest
import torch

from model.network import ShowAttendTell
from tests.training.trainings import brief, digest, figures, paused, start, train_interrupted
from training.config import TrainingConfig
from training.loop.run_folder import RunFolder
from training.loop.steps import Step
from training.train import train


def test_killed_four_times_ends_as_if_nothing_had_been(
    training: TrainingConfig, tmp_path: Path
) -> None:
    """First by SIGTERM, then by SIGKILL in every stage and between two."""
    undisturbed = dataclasses.replace(training, out=tmp_path / "calm", run=tmp_path / "calm-run")
    train(undisturbed)

    stopped = start(training, tmp_path, "state-0-0001-000001.pt")
    assert paused(stopped)
    stopped.send_signal(signal.SIGTERM)
    out, err = stopped.communicate("go on\n", timeout=120)
    assert stopped.returncode == 128 + signal.SIGTERM, err
    assert "stopped by SIGTERM; --resume goes on" in out
    for moment in (
        "state-0-0002-000001.pt",
        "state-0-0003-000000.pt",
        "state-1-0002-000000.pt",
        "state-2-0001-000001.pt",
    ):
        process = start(training, tmp_path, moment)
        assert paused(process)
        process.kill()
        process.communicate()
        assert not training.out.exists()
    process = start(training, tmp_path)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert digest(training) == digest(undisturbed)
    for one, two in zip(figures(training), figures(undisturbed), strict=True):
        assert {**one, "seconds": 0} == {**two, "seconds": 0}


def test_resuming_is_asked_for_and_fits(training: TrainingConfig) -> None:
    train(training)
    with pytest.raises(ValueError, match="holds a training that has begun"):
        train(training)
    with pytest.raises(ValueError, match="begun with other data or another configuration"):
        train(dataclasses.replace(training, alpha_c=0.5), resume=True)
    before = digest(training)
    train(training, resume=True)  # complete already: nothing to train
    assert digest(training) == before
    with pytest.raises(ValueError, match="or delete it to begin anew"):
        train(training, overwrite=True)  # replaces a checkpoint, not states

    newest = RunFolder(training.run_folder).states()[-1]
    newest.write_bytes(newest.read_bytes()[:1000])
    with pytest.raises(ValueError, match=f"{newest.name} cannot be read"):
        train(training, resume=True)


def test_a_signal_saves_and_stops(training: TrainingConfig) -> None:
    training = dataclasses.replace(training, save_minutes=60.0)
    train_interrupted(training)
    (saved,) = RunFolder(training.run_folder).states()
    assert saved.name == "state-0-0001-000001.pt"
    assert not training.out.exists()


def test_random_numbers_that_building_a_stage_draws_do_not_change_what_resumes(
    training: TrainingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calm = brief(training, out=tmp_path / "calm", run=tmp_path / "calm-run")
    stopped = brief(training)
    train(brief(training, out=tmp_path / "first", run=tmp_path / "first-run"))  # encodes the photos
    build = Step.__init__

    def drawing(step: Step, network: ShowAttendTell) -> None:
        torch.rand(3)
        build(step, network)

    monkeypatch.setattr(Step, "__init__", drawing)
    train(calm)
    train_interrupted(stopped)
    train(stopped, resume=True)
    assert digest(stopped) == digest(calm)
