"""Trainings that learn from teachers, also on photos that nobody has captioned."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from model import checkpoint
from tests.training.trainings import (
    brief,
    check_two_processes_train_like_one,
    digest,
    figures,
    train_interrupted,
)
from training.config import TrainingConfig
from training.data.mixture import Mixture
from training.data.prepare import prepare
from training.data.problems import InvalidDataset
from training.distillation.teaching import teach
from training.network.initial import initial_network
from training.train import train


@pytest.fixture
def more(tmp_path: Path, render) -> Path:
    """Three prepared photos that nobody has captioned."""
    (tmp_path / "more").mkdir()
    for number, color in enumerate(("green", "black", "yellow")):
        (tmp_path / "more" / f"{number}.jpg").write_bytes(render(color))
    prepare(tmp_path / "more", tmp_path / "data-more", 64, uncaptioned=True)
    return tmp_path / "data-more"


@pytest.fixture
def teacher(training: TrainingConfig, greens: Path, tmp_path: Path) -> Path:
    """A captioner that knows words of both captioned folders."""
    config = dataclasses.replace(training, data=[training.folders[0].path, greens], notice="")
    network, word_map = initial_network(config, Mixture.open(config.folders))
    checkpoint.save(tmp_path / "teacher", network, word_map, "# Teacher\n")
    return tmp_path / "teacher"


@pytest.fixture
def distilled(training: TrainingConfig, more: Path, teacher: Path) -> TrainingConfig:
    first = training.folders[0].path
    for folder in (first, more):
        teach(folder, [teacher], captions=2, words=4)
    return dataclasses.replace(training, data=[first, Path(f"{more}=2.5")], distillation=0.5)


def test_every_stage_trains_and_only_captioned_photos_are_scored(
    distilled: TrainingConfig, tmp_path: Path, device: torch.device
) -> None:
    scores = train(dataclasses.replace(distilled, tensorboard=True, device=str(device)))
    rows = figures(distilled)
    assert [row["stage"] for row in rows] == ["decoder"] * 2 + ["fine-tune"] * 2 + ["self-critical"]
    assert all("datasets" not in row for row in rows)  # one is scored
    assert scores["CIDEr"] >= 0
    card = (distilled.out / "README.md").read_text()
    assert "| `shapes` | 4 | 1 | 4 |" in card
    assert "| `more` | 3 | 2.5 | 0 |" in card
    assert "`shapes`: 50% of a word's loss compare with the probabilities of `teacher`" in card
    assert "`more`: nobody has captioned the photos" in card
    notices = checkpoint.load_config(distilled.out).notices
    assert any(notice.startswith("teacher: ") for notice in notices)  # they hold for the student
    assert f"--data {distilled.folders[0].path} --split val" in card
    assert (distilled.run_folder / "samples.png").is_file()
    _, word_map = checkpoint.load(distilled.out)
    assert "green" not in word_map.words  # the teacher's; nobody wrote it about these photos
    train(distilled, resume=True)  # complete already


def test_without_distillation_photos_without_captions_are_learned_all_the_same(
    distilled: TrainingConfig, tmp_path: Path
) -> None:
    plain = brief(distilled, distillation=0.0)
    (plain.folders[0].path / "taught.npz").unlink()  # is not read
    train(plain)
    alone = brief(
        plain, data=plain.folders[0].path, out=tmp_path / "alone", run=tmp_path / "alone-run"
    )
    train(alone)
    assert digest(plain) != digest(alone)


def test_a_share_changes_what_is_learned(distilled: TrainingConfig, tmp_path: Path) -> None:
    losses = set()
    for share in (0.0, 0.5, 1.0):
        folder = tmp_path / f"share-{share}"
        own = brief(distilled, distillation=share, out=folder, run=tmp_path / f"run-{share}")
        own = dataclasses.replace(own, data=distilled.folders[0].path)
        train(own)
        losses.add(figures(own)[0]["loss"])
    assert len(losses) == 3


def test_what_is_not_taught_is_refused(training: TrainingConfig, more: Path, teacher: Path) -> None:
    first = training.folders[0].path
    for data, share, message in (
        ([first, more], 0.0, rf"{more} is not taught yet; run `captioner teach {more}"),
        (first, 0.1, rf"{first} is not taught yet"),
        (more, 0.0, "needs a folder with captions"),
    ):
        with pytest.raises(InvalidDataset, match=message):
            train(dataclasses.replace(training, data=data, distillation=share))
    assert not training.out.exists()


def test_other_teachers_refuse_to_resume(
    distilled: TrainingConfig, teacher: Path, tmp_path: Path
) -> None:
    calm = brief(distilled, out=tmp_path / "calm", run=tmp_path / "calm-run")
    train(calm)
    stopped = brief(distilled)
    train_interrupted(stopped)
    more = stopped.folders[1].path
    before = (more / "taught.npz").read_bytes()
    network, word_map = checkpoint.load(teacher)
    torch.nn.init.zeros_(network.decoder.fc.weight)
    checkpoint.save(tmp_path / "other", network, word_map, "# Other\n")
    teach(more, [tmp_path / "other"], captions=2, words=4, overwrite=True)
    with pytest.raises(ValueError, match=r"begun with other data: .*more=2\.5 \(not taught as now"):
        train(stopped, resume=True)
    (more / "taught.npz").write_bytes(before)
    train(stopped, resume=True)
    assert digest(stopped) == digest(calm)


def test_two_processes_learn_from_teachers_like_one(
    distilled: TrainingConfig, tmp_path: Path
) -> None:
    check_two_processes_train_like_one(distilled, tmp_path)
