from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from model import checkpoint
from model.checkpoint import InvalidCheckpoint
from model.network import ShowAttendTell
from model.word_map import SPECIAL, WordMap


@pytest.fixture
def folder(tmp_path: Path, network: ShowAttendTell, word_map: WordMap) -> Path:
    checkpoint.save(tmp_path / "saved", network, word_map, "# Card\n")
    return tmp_path / "saved"


def test_round_trip(
    folder: Path, network: ShowAttendTell, word_map: WordMap, device: torch.device
) -> None:
    loaded, words = checkpoint.load(folder, device)
    assert words == word_map
    assert loaded.config == network.config
    assert not loaded.training
    for name, tensor in loaded.state_dict().items():
        original = network.state_dict()[name]
        assert tensor.dtype == original.dtype
        assert tensor.device == device
        exact = original.half().float() if original.ndim > 1 else original
        assert torch.equal(tensor.cpu(), exact), name


def test_saving_again_gives_the_same_bytes(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    checkpoint.save(folder, *checkpoint.load(folder), "# Card\n")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert set(before) == {"model.safetensors", "config.json", "word_map.json", "README.md"}
    assert list(folder.parent.iterdir()) == [folder]


def test_matrices_are_halved_on_disk(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    assert weights["decoder.fc.weight"].dtype == torch.float16
    assert weights["decoder.fc.bias"].dtype == torch.float32


def test_decoder_has_the_tutorials_names(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    names = {n.removeprefix("decoder.") for n in weights if n.startswith("decoder.")}
    linear = ["attention.encoder_att", "attention.decoder_att", "attention.full_att"]
    linear += ["init_h", "init_c", "f_beta", "fc"]
    wanted = {f"{name}.{part}" for name in linear for part in ("weight", "bias")}
    wanted |= {f"decode_step.{p}_{w}" for p in ("weight", "bias") for w in ("ih", "hh")}
    assert names == wanted | {"embedding.weight"}


def test_a_failing_save_leaves_the_old_one(
    folder: Path, network: ShowAttendTell, word_map: WordMap, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (folder / "model.safetensors").read_bytes()

    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        checkpoint.save(folder, network, word_map, "new")
    assert (folder / "model.safetensors").read_bytes() == before
    assert list(folder.parent.iterdir()) == [folder]


def test_other_things_are_not_replaced(
    tmp_path: Path, network: ShowAttendTell, word_map: WordMap
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name in ("other", "file"):
        with pytest.raises(ValueError, match=f"{name} holds something other than a checkpoint"):
            checkpoint.save(tmp_path / name, network, word_map, "")
    assert (tmp_path / "other" / "notes.txt").read_text() == "mine"
    assert (tmp_path / "file").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    checkpoint.save(tmp_path / "empty", network, word_map, "")
    checkpoint.load(tmp_path / "empty")


def test_refuses_to_save_what_cannot_be_loaded(
    tmp_path: Path, network: ShowAttendTell, word_map: WordMap
) -> None:
    only_special = WordMap({word: i for i, word in enumerate(SPECIAL)})
    with pytest.raises(ValueError, match="4 words, the network 10"):
        checkpoint.save(tmp_path / "new", network, only_special, "")
    with torch.no_grad():
        network.decoder.fc.weight[0, 0] = 1e6
    with pytest.raises(ValueError, match=r"decoder\.fc\.weight .* half precision"):
        checkpoint.save(tmp_path / "new", network, word_map, "")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "word_map.json"])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "garbage"])
def test_damage_is_named(folder: Path, name: str, damage: str) -> None:
    path = folder / name
    content = path.read_bytes()
    path.unlink()
    if damage != "missing":
        broken = {"empty": b"", "cut": content[: len(content) // 2], "garbage": b"\xff" * 99}
        path.write_bytes(broken[damage])
    with pytest.raises(InvalidCheckpoint, match=name):
        checkpoint.load(folder)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(InvalidCheckpoint, match="nowhere is no checkpoint folder"):
        checkpoint.load(tmp_path / "nowhere")


def test_word_map_of_another_training(folder: Path) -> None:
    ids = json.loads((folder / "word_map.json").read_text())
    (folder / "word_map.json").write_text(json.dumps(ids | {"purple": len(ids)}))
    with pytest.raises(InvalidCheckpoint, match=r"11 words.* 10; they come from different"):
        checkpoint.load(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_size": 21}, r"decoder\..* of shape"),
        ({"encoder": "resnet18"}, "and .* more"),
        ({"encoder": "timm/none_such"}, r"config\.json: .* timm has no model 'none_such'"),
        ({"colour": 1}, "unknown: colour"),
        ({"dropout": "half"}, "dropout is 'half'"),
        ({"notices": {"a": "b"}}, r"config\.json: notices is .*; it must be a list of lines"),
    ],
)
def test_config_that_does_not_fit(folder: Path, change: dict[str, object], message: str) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(InvalidCheckpoint, match=message):
        checkpoint.load(folder)


def test_a_checkpoint_from_before_there_were_notices(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    del config["notices"]
    (folder / "config.json").write_text(json.dumps(config))
    network, _ = checkpoint.load(folder)
    assert network.config.notices == checkpoint.load_config(folder).notices == ()


def test_weights_that_are_not_finite(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["decoder.fc.bias"][3] = float("nan")
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(InvalidCheckpoint, match=r"values in decoder\.fc\.bias that are not finite"):
        checkpoint.load(folder)


def test_a_checkpoint_is_replaced_only_if_asked_for(tiny_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds a checkpoint already; add --overwrite"):
        checkpoint.check_new(tiny_checkpoint)
    checkpoint.check_new(tiny_checkpoint, overwrite=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").touch()
    with pytest.raises(ValueError, match="something other than a checkpoint"):
        checkpoint.check_new(tmp_path / "other", overwrite=True)
    checkpoint.check_new(tmp_path / "new" / "checkpoint")
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_the_same_checkpoint_whatever_its_card(tiny_checkpoint: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    assert not checkpoint.is_same(tiny_checkpoint, again)
    checkpoint.save(again, *checkpoint.load(tiny_checkpoint), "# Another card\n")
    assert checkpoint.is_same(tiny_checkpoint, again)
    (again / checkpoint.WEIGHTS).unlink()
    assert not checkpoint.is_same(tiny_checkpoint, again)


def test_prepared_photos_are_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").touch()
    with pytest.raises(checkpoint.InvalidCheckpoint, match="holds prepared photos, as --data"):
        checkpoint.load(tmp_path)
