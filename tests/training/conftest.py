"""The whole training that several tests run: seconds on four rendered photos."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from training.config import TrainingConfig
from training.data.prepare import prepare
from training.data.prepared import Prepared
from training.stage_options import NetworkOptions, SelfCriticalOptions, StageOptions

TINY = NetworkOptions(
    encoder="timm/test_efficientnet",
    encoder_weights="none",
    image_size=64,
    encoded_size=0,
    attention_size=8,
    embedding_size=8,
    hidden_size=8,
    dropout=0.3,
)
STAGE = StageOptions(epochs=2, warm_up=0.0, learning_rate=0.01)


@pytest.fixture
def training(dataset: Path, tmp_path: Path) -> TrainingConfig:
    prepare(dataset, tmp_path / "data", 64)
    return TrainingConfig(
        data=tmp_path / "data",
        out=tmp_path / "out" / "shapes",
        run=tmp_path / "run",
        network=TINY,
        decoder=STAGE,
        fine_tune=dataclasses.replace(
            STAGE, augment=True, crop=0.6, colour=0.3, erase=0.5, input_dropout=0.2
        ),
        self_critical=SelfCriticalOptions(epochs=1, warm_up=0.0, learning_rate=0.01, samples=2),
        minimum_count=1,
        batch_size=2,
        ema_decay=0.5,
        device="cpu",
        precision="fp32",
        select="best",
        save_minutes=0.0,  # a state after every batch
        notice="Rendered shapes.",
    )


@pytest.fixture
def greens(tmp_path: Path, render: Callable[..., bytes]) -> Path:
    """A second prepared folder: three photos to train on, named like those of the first, and two
    to validate on.
    """
    source = tmp_path / "greens"
    source.mkdir()
    rows = []
    for number, name in enumerate(("red_circle", "red_square", "blue_circle", "x", "y")):
        shape = ("circle", "square")[number % 2]
        (source / f"{name}.jpg").write_bytes(render("green", shape, (100 + number, 90)))
        text = [f"a green {shape}", f"number {number}"]
        split = "train" if number < 3 else "val"
        rows.append({"file_name": f"{name}.jpg", "text": text, "split": split})
    (source / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    prepare(source, tmp_path / "data-greens", 64)
    return tmp_path / "data-greens"


@pytest.fixture
def prepared(dataset: Path, tmp_path: Path) -> Prepared:
    return prepare(dataset, tmp_path / "prepared", 96)
