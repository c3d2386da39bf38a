"""The mean of checkpoints, and what cannot be averaged."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from model import Captioner, checkpoint
from model.network import ShowAttendTell
from model.word_map import SPECIAL, WordMap
from scripts.cli import main


def changed(folder: Path, network: ShowAttendTell, word_map: WordMap, by: float) -> Path:
    """The network with every weight of its word layer moved."""
    with torch.no_grad():
        network.decoder.fc.weight.add_(by)
    checkpoint.save(folder, network, word_map, "")
    with torch.no_grad():
        network.decoder.fc.weight.sub_(by)
    return folder


def test_every_weight_is_the_mean(
    tmp_path: Path, network: ShowAttendTell, word_map: WordMap, render
) -> None:
    network.half().float()  # as a checkpoint keeps it
    folders = [changed(tmp_path / str(by), network, word_map, by) for by in (-0.5, 0.25, 0.25)]
    assert main(["average", *map(str, folders), "--out", str(tmp_path / "mean")]) == 0
    mean, words = checkpoint.load(tmp_path / "mean")
    assert words == word_map
    for name, weight in network.state_dict().items():
        assert torch.allclose(mean.state_dict()[name], weight, atol=1e-3), name
    assert Captioner.load(tmp_path / "mean").caption([render()])[0][0].text
    assert "`0.25`" in (tmp_path / "mean" / "README.md").read_text()


def test_what_cannot_be_averaged(
    tmp_path: Path,
    network: ShowAttendTell,
    word_map: WordMap,
    capsys: pytest.CaptureFixture[str],
) -> None:
    one = changed(tmp_path / "one", network, word_map, 0)
    ids = {word if word in SPECIAL else f"{word}s": i for i, word in enumerate(word_map.words)}
    other = changed(tmp_path / "other", network, WordMap(ids), 0)
    out = tmp_path / "out"
    assert main(["average", str(one), "--out", str(out)]) == 1
    assert "at least two" in capsys.readouterr().err
    assert main(["average", str(one), str(other), "--out", str(out)]) == 1
    assert f"{other} has another network or other words" in capsys.readouterr().err
    assert not out.exists()
