"""Weights that are rounded to bfloat16 when a checkpoint is written."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from model import checkpoint
from model.encoder import Encoder
from model.inference.prepared import prepare_encoder
from model.inference.rounding import is_rounded, rounded
from model.network import ShowAttendTell
from model.word_map import WordMap
from tests.model.inference.test_prepared import make_photos

ENCODERS = ("timm/tf_efficientnet_lite0", "resnet18")


@pytest.fixture(params=ENCODERS)
def trained(request: pytest.FixtureRequest, network: ShowAttendTell) -> ShowAttendTell:
    """Return a network with BatchNorms that have seen photos, as no two channels are alike."""
    torch.manual_seed(0)
    config = dataclasses.replace(network.config, encoder=request.param, image_size=64)
    trained = ShowAttendTell(config)
    for module in trained.encoder.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.uniform_(0, 1)
    trained.encoder.train()
    for module in trained.encoder.modules():
        module.training = True  # even of layers that are frozen
    with torch.no_grad():
        for _ in range(20):
            trained.encoder(make_photos(64))
    return trained.eval()


def error(encoder: Encoder) -> float:
    """Return the error of computing in bfloat16, relative to the features."""
    photos = make_photos(64)
    with torch.inference_mode():
        features = encoder(photos)
        return float(
            (prepare_encoder(encoder, torch.bfloat16)(photos) - features).norm() / features.norm()
        )


def test_rounded_weights_lose_less_in_bfloat16(
    trained: ShowAttendTell, word_map: WordMap, tmp_path: Path
) -> None:
    checkpoint.save(tmp_path / "plain", trained, word_map, "")
    checkpoint.save(tmp_path / "rounded", rounded(trained), word_map, "")
    plain, after = (checkpoint.load(tmp_path / n)[0].encoder for n in ("plain", "rounded"))
    assert not is_rounded(plain)
    assert is_rounded(after)
    assert error(after) < 0.8 * error(plain)
    photos = make_photos(64)
    with torch.inference_mode():
        change = (after(photos) - plain(photos)).norm() / plain(photos).norm()
    assert change < 0.03


def test_rounding_again_changes_nothing(
    trained: ShowAttendTell, word_map: WordMap, tmp_path: Path
) -> None:
    for folder in ("once", "twice"):
        trained = rounded(trained)
        checkpoint.save(tmp_path / folder, trained, word_map, "")
        trained = checkpoint.load(tmp_path / folder)[0]
    assert checkpoint.is_same(tmp_path / "once", tmp_path / "twice")


def test_only_convolutions_that_bfloat16_may_compute_are_rounded(trained: ShowAttendTell) -> None:
    trained.train()
    before = {name: tensor.clone() for name, tensor in trained.state_dict().items()}
    after = rounded(trained).state_dict()
    assert trained.training
    changed = set()
    for name, tensor in trained.state_dict().items():
        assert torch.equal(tensor, before[name]), name
        if not torch.equal(after[name], tensor):
            changed.add(name)
    first = tuple(f"encoder.backbone.{name}." for name in trained.encoder.first)
    assert changed == {
        f"encoder.backbone.{name}.weight"
        for name, module in trained.encoder.backbone.named_modules()
        if isinstance(module, torch.nn.Conv2d)
        and not (first and f"encoder.backbone.{name}.".startswith(first))
    }


def test_a_channel_that_its_norm_silences_stays_finite(trained: ShowAttendTell) -> None:
    norms = [m for m in trained.encoder.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    norms[-1].weight.data[0] = 0
    assert all(tensor.isfinite().all() for tensor in rounded(trained).state_dict().values())


def test_a_network_that_is_never_folded_is_not_rounded(network: ShowAttendTell) -> None:
    config = dataclasses.replace(network.config, image_size=72)
    odd = ShowAttendTell(config)
    after = rounded(odd).state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in odd.state_dict().items())
    assert not is_rounded(odd.encoder)
