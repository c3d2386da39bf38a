"""The model card that a training writes, and the shipped one."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from model import checkpoint
from model.network import ShowAttendTell
from training.config import TrainingConfig
from training.data.mixture import Mixture
from training.data.prepare import prepare
from training.reporting.model_card import model_card
from training.scoring.metrics import EVERY_EPOCH
from training.scoring.validation import ValidationScores
from training.scoring.wording import Wording

SHIPPED = Path(__file__).resolve().parents[3] / "checkpoints" / "flickr8k" / "README.md"


def written_card(dataset: Path, folder: Path, network: ShowAttendTell, last_kept: bool) -> str:
    prepare(dataset, folder / "data", 64)
    config = TrainingConfig(data=folder / "data", out=folder / "tiny")
    network.config = replace(network.config, notices=("shapes: Rendered.", "weights: Apache-2.0."))
    mixture = Mixture.open(config.folders)
    name = mixture.parts[0].name
    wording = Wording.counted(["a red hat and a hat", "a dog with a"])
    scores = ValidationScores({name: dict.fromkeys(EVERY_EPOCH, 0.5)}, {name: wording})
    epochs = [
        {"epoch": 1, "stage": "decoder", "loss": 2.0, "BLEU-4": 0.1, "CIDEr": 0.4},
        {"epoch": 2, "stage": "self-critical", "reward": 1.0, "BLEU-4": 0.2, "CIDEr": 0.3},
    ]
    return model_card(config, mixture, network, scores, epochs, last_kept, "captioner train")


def test_the_card_has_every_score_and_epoch(
    dataset: Path, tmp_path: Path, network: ShowAttendTell
) -> None:
    card = written_card(dataset, tmp_path, network, last_kept=False)
    assert f"| {' | '.join(EVERY_EPOCH)} |" in card
    assert "| 1 | decoder | 2.000 | 0.1000 | 0.4000 |" in card
    assert "| 2 | self-critical | 1.000 | 0.2000 | 0.3000 |" in card
    assert "Epoch 1 was kept: it had the best CIDEr" in card
    assert "\n- shapes: Rendered.\n- weights: Apache-2.0.\n" in card
    assert "| captions with a word twice in a row | captions with a content word twice |" in card
    assert "| 1 of 2 | 0 of 2 | 1 of 2 | 2 of 2 | 6 | 5.0 |" in card


def test_the_shipped_card_states_the_notices_of_its_config() -> None:
    notices = checkpoint.load_config(SHIPPED.parent).notices
    assert any("Flickr8k" in notice and "not commercially" in notice for notice in notices)
    text = " ".join(SHIPPED.read_text().split())
    assert " ".join(f"- {notice}" for notice in notices) in text


def test_the_shipped_card_has_the_sections_and_limits_of_every_card(
    dataset: Path, tmp_path: Path, network: ShowAttendTell
) -> None:
    card, shipped = written_card(dataset, tmp_path, network, True), SHIPPED.read_text()
    sections = [re.findall(r"^## .*$", text, re.MULTILINE) for text in (card, shipped)]
    assert [name for name in sections[1] if name in sections[0]] == sections[0]
    for sentence in ("It knows only what its training photos show", "not fit for describing"):
        assert all(sentence in " ".join(text.split()) for text in (card, shipped))
