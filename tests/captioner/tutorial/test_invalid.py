"""Files that are damaged, or do not fit each other, are refused and named."""

from __future__ import annotations

import io
import json
import os
import pickle
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from captioner.tutorial.convert import import_tutorial
from tests.captioner.tutorial.saved import WORDS, Call, save, zipped


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("damage", ["empty", "head", "half", "tail", "garbage"])
def test_damage_is_named(state_dicts, refused, tmp_path: Path, damage: str, legacy: bool) -> None:
    weights = save({"decoder": state_dicts["decoder"], "encoder": {}}, tmp_path / "w.pth", legacy)
    whole = weights.read_bytes()
    cut = {"empty": 0, "head": 4, "half": len(whole) // 2, "tail": len(whole) - 90}
    weights.write_bytes(b"\x8b" * 5000 if damage == "garbage" else whole[: cut[damage]])
    assert "damaged" in refused(weights)


def test_other_archives_are_refused(refused, tmp_path: Path) -> None:
    pickled = pickle.dumps({}, protocol=2)
    assert "TorchScript" in refused(zipped(tmp_path / "a.pth", pickled, "constants.pkl"))
    assert "bytes in  order" in refused(zipped(tmp_path / "b.pth", pickled, "byteorder"))
    squeezed = zipped(tmp_path / "c.pth", pickled, compression=zipfile.ZIP_DEFLATED)
    assert "compressed" in refused(squeezed)
    (tmp_path / "pickle").write_bytes(pickle.dumps(Call(os.system, "touch ran")))
    with tarfile.open(tmp_path / "d.pth.tar", "w") as archive:
        archive.add(tmp_path / "pickle")
    assert "damaged" in refused(tmp_path / "d.pth.tar")
    (tmp_path / "e.pth").write_bytes(pickled)
    assert "not written by torch.save" in refused(tmp_path / "e.pth")


class Reaching(pickle.Pickler):
    """Writes a storage of 4 numbers wherever it meets the text ``STORAGE``."""

    def persistent_id(self, thing: Any) -> Any:
        return ("storage", torch.FloatStorage, "0", "cpu", 4) if thing == "STORAGE" else None


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [(0, (5,), (1,)), (1, (4,), (1,)), (-1, (2,), (1,)), (0, (2, 2), (9, 1)), (0, (99,), (0,))],
)
def test_tensors_stay_within_their_storage(
    refused, tmp_path: Path, offset: int, size: tuple[int, ...], stride: tuple[int, ...]
) -> None:
    buffer = io.BytesIO()
    tensor = Call(torch._utils._rebuild_tensor_v2, "STORAGE", offset, size, stride, False, {})
    Reaching(buffer, protocol=2).dump({"encoder": {"resnet.0.weight": tensor}, "decoder": {}})
    weights = zipped(tmp_path / "w.pth", buffer.getvalue())
    with zipfile.ZipFile(weights, "a") as archive:
        archive.writestr("archive/data/0", bytes(16))
    assert "damaged" in refused(weights)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder": None}, "lacks the encoder; give a file that the tutorial's train.py saved"),
        ({"decoder": None}, "lacks the decoder"),
        ({"encoder": {}}, "has an encoder that is none of resnet18, resnet34"),
        ({"decoder": {}}, "lacks the matrix decoder.embedding.weight"),
        ({"decoder": {"fc.weight": 3}}, "has no tensor at 'fc.weight'"),
    ],
)
def test_missing_parts(
    state_dicts, refused, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    assert message in refused(save(state_dicts | change, tmp_path / "w.pth"))


@pytest.mark.parametrize(
    ("part", "name", "tensor", "message"),
    [
        ("decoder", "fc.bias", None, "lacks decoder.fc.bias"),
        ("decoder", "fc.bias", torch.ones(3), r"has decoder.fc.bias of shape (3,), not (9,)"),
        ("decoder", "fc2.bias", torch.ones(3), "has an unknown 'decoder.fc2.bias'"),
        ("decoder", "fc.bias", torch.full((9,), torch.nan), "decoder.fc.bias that are not finite"),
        ("decoder", "fc.weight", torch.full((9, 7), 1e6), "not finite in half precision"),
        ("encoder", "resnet.7.1.bn2.bias", None, "lacks encoder.backbone.7.1.bn2.bias"),
        ("encoder", "resnet.0.weight", torch.ones(64, 1, 7, 7), "of shape (64, 1, 7, 7), not"),
    ],
)
def test_weights_that_do_not_fit(
    state_dicts, refused, tmp_path: Path, part: str, name: str, tensor: Any, message: str
) -> None:
    state_dicts[part].pop(name, None)
    if tensor is not None:
        state_dicts[part][name] = tensor
    assert message in refused(save(state_dicts, tmp_path / "w.pth"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (WORDS[:-1], "the word map lacks <end>"),
        ([*WORDS, "purple"], "has 10 words, but the decoder in .*w.pth 9; give the word map"),
        (None, "WORDMAP_tiny.json: .*Expecting"),
    ],
)
def test_word_map_that_does_not_fit(
    state_dicts, wordmap: Path, tmp_path: Path, words: list[str] | None, message: str
) -> None:
    wordmap.write_text("{" if words is None else json.dumps({w: i for i, w in enumerate(words)}))
    weights = save(state_dicts, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=message):
        import_tutorial(weights, wordmap, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_swapped_arguments_are_named(state_dicts, wordmap: Path, tmp_path: Path) -> None:
    weights = save(state_dicts, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"w\.pth is a file of torch\.save, not a word map; give"):
        import_tutorial(wordmap, weights, tmp_path / "out")
