"""Whole trainings: what they write, and that the same one gives the same weights."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from model import Captioner, DecodingOptions, checkpoint
from model.inference.rounding import is_rounded
from tests.training.trainings import check_two_processes_train_like_one, digest, figures
from training.config import TrainingConfig
from training.data import datasets
from training.data.problems import InvalidDataset
from training.loop.run_folder import RunFolder
from training.scoring.captions import caption_files
from training.scoring.metrics import score
from training.train import train


def test_writes_a_checkpoint_that_scores_what_it_says(
    training: TrainingConfig, dataset: Path, device: torch.device
) -> None:
    training = dataclasses.replace(training, device=str(device))
    scores = train(training, command="captioner train --this")
    captioner = Captioner.load(training.out, device)
    assert is_rounded(checkpoint.load(training.out)[0].encoder)
    photos = datasets.read(dataset).of_split("val")
    search = DecodingOptions(
        training.beam_size, length_penalty=training.length_penalty, consensus=False
    )
    texts = [caption.text for caption in caption_files(captioner, photos, search)]
    assert score(texts, [photo.captions for photo in photos]) == pytest.approx(scores, abs=1e-6)
    card = (training.out / "README.md").read_text()
    assert f"{scores['CIDEr']:.4f}" in card
    assert "Rendered shapes." in card
    assert "captioner train --this" in card
    assert list(training.out.parent.iterdir()) == [training.out]

    rows = figures(training)
    stages = ["decoder"] * 2 + ["fine-tune"] * 2 + ["self-critical"]
    assert [row["stage"] for row in rows] == stages
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5]
    assert ["reward" in row for row in rows] == ["loss" not in row for row in rows]
    assert ["reward" in row for row in rows] == [False] * 4 + [True]
    assert max(row["CIDEr"] for row in rows) == pytest.approx(scores["CIDEr"], abs=0.2)
    assert {p.name for p in training.run_folder.glob("*.png")} == {"report.png", "samples.png"}
    assert len(RunFolder(training.run_folder).states()) == training.keep


def test_every_stage_in_bfloat16(training: TrainingConfig, device: torch.device) -> None:
    """A CPU without fast bfloat16 computes it too, slowly."""
    train(dataclasses.replace(training, device=str(device), precision="bf16"))
    rows = figures(training)
    assert [row["stage"] for row in rows] == ["decoder"] * 2 + ["fine-tune"] * 2 + ["self-critical"]
    assert all(math.isfinite(row.get("loss", row.get("reward"))) for row in rows)
    assert Captioner.load(training.out).network.encoder.image_mean.dtype == torch.float32


def test_figures_for_tensorboard(training: TrainingConfig) -> None:
    train(dataclasses.replace(training, tensorboard=True, save_minutes=60.0))
    events = EventAccumulator(str(training.run_folder / "tensorboard")).Reload()
    assert {"loss", "reward", "CIDEr", "learning_rate", "encoder_learning_rate"} <= set(
        events.Tags()["scalars"]
    )
    written = [(event.step, event.value) for event in events.Scalars("CIDEr")]
    assert written == [(row["epoch"], pytest.approx(row["CIDEr"])) for row in figures(training)]


def test_two_trainings_are_the_same(training: TrainingConfig, tmp_path: Path) -> None:
    train(training)
    other = dataclasses.replace(training, out=tmp_path / "out" / "again", run=tmp_path / "again")
    train(other)
    assert digest(training) == digest(other)


@pytest.mark.slow
def test_two_processes_train_like_one(training: TrainingConfig, tmp_path: Path) -> None:
    check_two_processes_train_like_one(training, tmp_path)


def test_refuses_data_devices_and_places_that_cannot_be_used(
    training: TrainingConfig, tmp_path: Path
) -> None:
    wrong_size = dataclasses.replace(training.network, image_size=96)
    with pytest.raises(ValueError, match="prepared with image_size 64, the network wants 96"):
        train(dataclasses.replace(training, network=wrong_size))
    with pytest.raises(InvalidDataset):
        train(dataclasses.replace(training, data=tmp_path))
    with pytest.raises(ValueError, match="device 'cuda:99' cannot be used here"):
        train(dataclasses.replace(training, device="cuda:99"))
    training.out.mkdir(parents=True)
    (training.out / "thesis.txt").write_text("do not lose me")
    with pytest.raises(ValueError, match="something other than a checkpoint"):
        train(training)
    assert not training.run_folder.exists()
