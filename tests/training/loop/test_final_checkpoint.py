"""Checkpoints of other trainings stay, and the notices are carried on."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from model import checkpoint
from tests.training.trainings import brief, digest
from training.config import TrainingConfig
from training.loop import epoch
from training.train import train


def test_a_checkpoint_of_another_training_stays(
    training: TrainingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = brief(training)
    train(first)
    before = digest(first)
    other = brief(training, run=tmp_path / "other", seed=2)
    with monkeypatch.context() as patched:
        patched.setattr(epoch, "train_one_epoch", lambda **_: pytest.fail("trained first"))
        with pytest.raises(ValueError, match="shapes holds a checkpoint already; add --overwrite"):
            train(other)
    assert digest(first) == before
    assert not other.run_folder.exists()
    train(other, overwrite=True)
    assert digest(first) != before


def test_its_own_checkpoint_is_no_obstacle_and_its_calibration_stays(
    training: TrainingConfig,
) -> None:
    training = brief(training)
    train(training)
    (training.out / "calibration.json").write_text("{}")
    before = digest(training)
    train(training, resume=True)
    assert (training.out / "calibration.json").exists()
    (training.out / "model.safetensors").unlink()  # damaged: no longer its own
    with pytest.raises(ValueError, match="holds a checkpoint already"):
        train(training, resume=True)
    train(training, resume=True, overwrite=True)
    assert digest(training) == before


def test_a_checkpoint_written_meanwhile_stays_and_nothing_is_lost(
    training: TrainingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training, quicker = brief(training), brief(training, run=tmp_path / "quicker", seed=2)
    train_one_epoch = epoch.train_one_epoch

    def overtaken(**arguments: Any) -> None:
        monkeypatch.setattr(epoch, "train_one_epoch", train_one_epoch)
        train(quicker)
        train_one_epoch(**arguments)

    monkeypatch.setattr(epoch, "train_one_epoch", overtaken)
    with pytest.raises(ValueError, match=r"already; .* own is .*best, and --resume"):
        train(training)
    assert checkpoint.is_same(training.out, quicker.run_folder / "best")
    elsewhere = dataclasses.replace(training, out=tmp_path / "elsewhere")
    train(elsewhere, resume=True)
    assert digest(elsewhere) != digest(training)


def test_the_notices_of_the_start_are_carried_on(training: TrainingConfig, tmp_path: Path) -> None:
    first = brief(training, notice="For research, not commerce.")
    second = brief(training, run=None, start_from=first.out, out=tmp_path / "second", notice="")
    third = brief(training, run=None, start_from=second.out, out=tmp_path / "third", notice="Mine.")
    fourth = brief(training, run=None, start_from=third.out, out=tmp_path / "fourth")
    fourth = dataclasses.replace(fourth, notice="For research,\nnot commerce.")
    for each in (first, second, third, fourth):
        train(each)
    old, new = "shapes: For research, not commerce.", "shapes: Mine."
    kept = [checkpoint.load_config(each.out).notices for each in (first, second, third, fourth)]
    assert kept == [(old,), (old,), (old, new), (old, new)]
    cards = [(each.out / "README.md").read_text() for each in (first, second, third)]
    assert "started from" not in cards[0]
    for card in cards:
        assert card.index("## Data") < card.index(f"- {old}\n") < card.index("## Figures")
    assert all("It started from weights of `" in card for card in cards[1:])
    assert f"- {new}\n" in cards[2]


def test_the_notices_of_an_encoder_are_carried_on(training: TrainingConfig, tmp_path: Path) -> None:
    first = brief(training, notice="For research, not commerce.")
    train(first)
    encoder = dataclasses.replace(
        first.network, encoder_weights=str(first.out / "model.safetensors")
    )
    second = brief(training, run=None, network=encoder, out=tmp_path / "second", notice="")
    train(second)
    notices = checkpoint.load_config(second.out).notices
    assert notices == ("shapes: For research, not commerce.",)
    assert f"- {notices[0]}" in (second.out / "README.md").read_text()
