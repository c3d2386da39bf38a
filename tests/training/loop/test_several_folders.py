"""Trainings on several prepared folders at once."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from statistics import fmean

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from model import Captioner, checkpoint
from tests.training.trainings import (
    brief,
    check_two_processes_train_like_one,
    digest,
    figures,
    train_interrupted,
)
from training.config import TrainingConfig
from training.data import datasets
from training.reporting.report import read_rows, write_report
from training.scoring.captions import caption_files
from training.scoring.metrics import score
from training.train import train


@pytest.fixture
def mixed(training: TrainingConfig, greens: Path) -> TrainingConfig:
    first = training.folders[0].path
    notices = ["Rendered shapes.", "CC BY 4.0: name the painter."]
    return dataclasses.replace(training, data=[first, Path(f"{greens}=2.5")], notice=notices)


def test_every_stage_and_every_dataset_is_scored(mixed: TrainingConfig, tmp_path: Path) -> None:
    scores = train(dataclasses.replace(mixed, tensorboard=True))
    _, word_map = checkpoint.load(mixed.out)
    assert {"blue", "green"} <= set(word_map.words)  # words of both
    rows = figures(mixed)
    assert [row["stage"] for row in rows] == ["decoder"] * 2 + ["fine-tune"] * 2 + ["self-critical"]
    for row in rows:
        assert list(row["datasets"]) == ["shapes", "greens"]
        for name in ("BLEU-4", "CIDEr"):
            each = [of_dataset[name] for of_dataset in row["datasets"].values()]
            assert row[name] == fmean(each)
    best = max(rows, key=lambda row: row["CIDEr"])
    assert [row for row in rows if row.get("kept")] == [best]

    captioner, by_dataset = Captioner.load(mixed.out), {}
    for name in ("shapes", "greens"):
        photos = datasets.read(tmp_path / name).of_split("val")
        texts = [caption.text for caption in caption_files(captioner, photos, mixed.decoding)]
        by_dataset[name] = score(texts, [photo.captions for photo in photos])
    for name, value in scores.items():
        assert value == pytest.approx(fmean(of[name] for of in by_dataset.values()), abs=1e-6)

    card = (mixed.out / "README.md").read_text()
    assert "| `shapes` | 4 | 1 | 4 |" in card
    assert "| `greens` | 3 | 2.5 | 2 |" in card
    assert "- shapes: Rendered shapes.\n- greens: CC BY 4.0: name the painter.\n" in card
    for name, of_dataset in (by_dataset | {"mean": scores}).items():
        shown = name if name == "mean" else f"`{name}`"
        (line,) = [line for line in card.splitlines() if line.startswith(f"| {shown} | 0.")]
        assert line.endswith(f"{of_dataset['CIDEr']:.4f} |")
    assert f"Epoch {best['epoch']} was kept: it had the best CIDEr, the mean over the" in card
    pictures = {path.name for path in mixed.run_folder.glob("*.png")}
    assert pictures == {"report.png", "samples-shapes.png", "samples-greens.png"}
    write_report(read_rows([mixed.run_folder / "metrics.jsonl"]), tmp_path / "curves.png")
    events = EventAccumulator(str(mixed.run_folder / "tensorboard")).Reload()
    assert {"CIDEr", "greens/CIDEr", "shapes/CIDEr"} <= set(events.Tags()["scalars"])


def test_a_stopped_training_goes_on_only_with_the_same_folders(
    mixed: TrainingConfig, tmp_path: Path
) -> None:
    calm = brief(mixed, out=tmp_path / "calm", run=tmp_path / "calm-run")
    train(calm)
    stopped = brief(mixed)
    train_interrupted(stopped)
    first, second = (folder.path for folder in stopped.folders)
    other = dataclasses.replace(stopped, data=[first, Path(f"{second}=3")])
    with pytest.raises(ValueError, match=r"begun with other data: .*greens=2\.5; now .*greens=3"):
        train(other, resume=True)
    train(stopped, resume=True)
    assert digest(stopped) == digest(calm)


def test_an_only_folder_in_a_list_trains_as_itself(
    training: TrainingConfig, tmp_path: Path
) -> None:
    single = brief(training)
    train(single)
    listed = brief(
        training, data=[training.folders[0].path], out=tmp_path / "o", run=tmp_path / "r"
    )
    train(listed)
    assert digest(listed) == digest(single)
    assert "datasets" not in figures(listed)[0]
    train(listed, resume=True)  # its state fits either way of naming the folder
    train(dataclasses.replace(listed, data=training.data), resume=True)


def test_two_processes_train_on_several_folders_like_one(
    mixed: TrainingConfig, tmp_path: Path
) -> None:
    check_two_processes_train_like_one(mixed, tmp_path)
