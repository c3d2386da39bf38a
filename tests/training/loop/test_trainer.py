"""Stages of a training, and the epoch that is kept."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from tests.training.trainings import digest, figures
from training.config import TrainingConfig
from training.data.augmentation import Augmentation
from training.loop import epoch
from training.stage_options import SelfCriticalOptions, StageOptions
from training.train import train


def test_each_stage_has_its_own_options(training: TrainingConfig, monkeypatch) -> None:
    train_one_epoch, shares, changes = epoch.train_one_epoch, [], []

    def watched(**arguments) -> None:
        shares.append(arguments["step"].network.decoder.input_dropout.p)
        changes.append(arguments["batches"].dataset.augmentation)
        train_one_epoch(**arguments)

    monkeypatch.setattr(epoch, "train_one_epoch", watched)
    train(training)
    assert [stage.input_dropout for stage in training.stages.values()] == [0.0, 0.2, 0.0]
    assert shares == [0.0, 0.0, 0.2, 0.2, 0.0]
    drawn = Augmentation(crop=0.6, colour=0.3, erase=0.5)
    assert changes == [None, None, drawn, drawn, None]


def test_with_few_validation_photos_the_last_epoch_is_kept(
    training: TrainingConfig, tmp_path: Path
) -> None:
    """Patience plays no part then, and the best of scores that are mostly chance is no better."""
    stages = {
        "decoder": dataclasses.replace(training.decoder, epochs=4, patience=1, learning_rate=1e-9),
        "fine_tune": StageOptions(epochs=0),
        "self_critical": SelfCriticalOptions(),
    }
    runs = {
        select: dataclasses.replace(
            training, select=select, out=tmp_path / select, run=tmp_path / f"run-{select}", **stages
        )
        for select in ("auto", "last", "best")
    }
    for run in runs.values():
        train(run)
    assert [len(figures(run)) for run in runs.values()] == [4, 4, 2]
    kept = [[row.get("kept", False) for row in figures(run)] for run in runs.values()]
    assert kept == [[False, False, False, True]] * 2 + [[True, False]]
    assert digest(runs["auto"]) == digest(runs["last"])
    assert "The last epoch was kept." in (runs["auto"].out / "README.md").read_text()
    assert "Epoch 1 was kept: it had the best CIDEr" in (runs["best"].out / "README.md").read_text()


def test_one_stage_alone(training: TrainingConfig, tmp_path: Path) -> None:
    for stage, name in (("fine_tune", "fine-tune"), ("self_critical", "self-critical")):
        others = {
            other: dataclasses.replace(getattr(training, other), epochs=0)
            for other in ("decoder", "fine_tune", "self_critical")
            if other != stage
        }
        folders = {"out": tmp_path / "out" / name, "run": tmp_path / name}
        alone = dataclasses.replace(training, save_minutes=60.0, **others, **folders)
        train(alone)
        assert {row["stage"] for row in figures(alone)} == {name}
