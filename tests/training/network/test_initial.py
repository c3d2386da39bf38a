"""Trainings that start from a checkpoint, and its words."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from model import Captioner, checkpoint
from model.network import ShowAttendTell
from model.word_map import SPECIAL, WordMap
from training.config import TrainingConfig
from training.stage_options import SelfCriticalOptions, StageOptions
from training.train import train


def test_starts_from_a_checkpoint_and_learns_its_words(
    training: TrainingConfig, tmp_path: Path, network: ShowAttendTell
) -> None:
    words = WordMap(
        {w: i for i, w in enumerate(["<pad>", "a", "dog", "<unk>", "<start>", "<end>"])}
    )
    small = dataclasses.replace(network.config, vocabulary_size=6, image_size=64)
    checkpoint.save(tmp_path / "old", ShowAttendTell(small), words, "")
    training = dataclasses.replace(
        training,
        start_from=tmp_path / "old",
        decoder=dataclasses.replace(training.decoder, epochs=60, patience=60, schedule="constant"),
        fine_tune=StageOptions(epochs=0),
        self_critical=SelfCriticalOptions(),
        save_minutes=60.0,
    )
    train(training)
    loaded = Captioner.load(training.out)
    assert [w for w in loaded.word_map.words if w in words.words] == words.words
    assert {"red", "circle"} <= set(loaded.word_map.words)
    texts = {
        loaded.caption([path.read_bytes()])[0][0].text
        for path in (tmp_path / "shapes" / "Images").iterdir()
    }
    assert any("circle" in t or "square" in t for t in texts)

    # States fit the words that were merged then: not those of another order.
    other = WordMap(
        {word: i for i, word in enumerate([*words.words[2:0:-1], "<pad>", *SPECIAL[1:]])}
    )
    checkpoint.save(tmp_path / "old", ShowAttendTell(small), other, "")
    with pytest.raises(ValueError, match="begun with other data or another configuration"):
        train(training, resume=True)


def test_more_words_leave_the_old_ones_scores_alone(
    network: ShowAttendTell, word_map: WordMap
) -> None:
    more = WordMap.build([["purple", "red", "triangle"]], minimum_count=1)
    larger, words = checkpoint.with_more_words(network, word_map, more)
    assert set(words.words) == {*word_map.words, "purple", "triangle"}
    hidden = torch.randn(3, network.config.hidden_size)
    old, new = network.decoder.scores(hidden), larger.eval().decoder.scores(hidden)
    places = [words.words.index(word) for word in word_map.words]
    torch.testing.assert_close(new[:, places], old)
    torch.testing.assert_close(
        larger.decoder.embedding.weight[places], network.decoder.embedding.weight
    )
    same, unchanged = checkpoint.with_more_words(network, word_map, word_map)
    assert unchanged == word_map
    torch.testing.assert_close(same.state_dict(), network.state_dict())
