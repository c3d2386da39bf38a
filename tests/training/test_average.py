from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from captioner.cli.main import main
from model import checkpoint
from model.inference.rounding import is_rounded
from model.network import ShowAttendTell
from model.word_map import WordMap
from training.average import average


@pytest.fixture
def several(tmp_path: Path, network: ShowAttendTell, word_map: WordMap) -> list[Path]:
    """Return checkpoints of three networks that differ in their weights and notices."""
    folders = [tmp_path / name for name in ("a", "b", "c")]
    for i, folder in enumerate(folders):
        torch.manual_seed(i)
        notices = ("Of all.", f"Of {folder.name}.")
        one = ShowAttendTell(dataclasses.replace(network.config, notices=notices))
        checkpoint.save(folder, one, word_map, "")
    return folders


def test_every_weight_is_the_mean_of_the_checkpoints(tmp_path: Path, several: list[Path]) -> None:
    out = tmp_path / "mean"
    assert main(["average", *map(str, several), "--out", str(out)]) == 0
    networks = [checkpoint.load(folder)[0].state_dict() for folder in several]
    network, words = checkpoint.load(out)
    assert words.words == checkpoint.load(several[0])[1].words
    for name, weights in network.state_dict().items():
        wanted = torch.stack([each[name].double() for each in networks]).mean(dim=0)
        half = weights.ndim > 1  # as a checkpoint keeps matrices
        rtol = 1e-3 if half else 1e-6
        if weights.ndim == 4:  # of a convolution, rounded
            rtol = 5e-3
        torch.testing.assert_close(weights.double(), wanted, rtol=rtol, atol=1e-4 if half else 1e-7)
    assert is_rounded(network.encoder)
    assert network.config.notices == ("Of all.", "Of a.", "Of b.", "Of c.")
    card = (out / checkpoint.CARD).read_text()
    assert all(checkpoint.digest(folder) in card for folder in several)
    assert all(notice in card for notice in network.config.notices)


def test_what_cannot_be_averaged_is_refused_and_writes_nothing(
    tmp_path: Path, several: list[Path], network: ShowAttendTell, word_map: WordMap
) -> None:
    out = tmp_path / "mean"
    with pytest.raises(ValueError, match="one checkpoint has no mean"):
        average(several[:1], out, "")
    larger = ShowAttendTell(dataclasses.replace(network.config, hidden_size=24))
    checkpoint.save(tmp_path / "larger", larger, word_map, "")
    with pytest.raises(ValueError, match=r"a and .*larger differ in config\.json"):
        average([several[0], tmp_path / "larger"], out, "")
    others = WordMap({"zebra" if w == "a" else w: i for i, w in enumerate(word_map.words)})
    checkpoint.save(tmp_path / "others", network, others, "")
    with pytest.raises(ValueError, match=r"a and .*others know different words"):
        average([several[0], tmp_path / "others"], out, "")
    assert not out.exists()


def test_a_checkpoint_is_replaced_only_if_that_is_asked_for(
    tmp_path: Path, several: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["average", *map(str, several), "--out", str(several[0])]
    before = checkpoint.digest(several[0])
    assert main(command) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert checkpoint.digest(several[0]) == before
    assert main([*command, "--overwrite"]) == 0
    assert checkpoint.digest(several[0]) != before
