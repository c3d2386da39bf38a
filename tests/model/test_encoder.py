from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from model.config import ModelConfig
from model.encoder import Encoder
from model.inference.prepared import prepare_encoder


def photos(count: int, height: int, width: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    shape = (count, 3, height, width)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize(
    ("name", "features"),
    [
        ("resnet18", 512),
        ("resnet34", 512),
        ("resnet50", 2048),
        ("resnet101", 2048),
        ("resnet152", 2048),
        ("timm/tf_efficientnet_lite0", 1280),
        ("timm/mobilenetv3_small_050", 288),
        ("timm/test_convnext", 64),
    ],
)
def test_backbones(name: str, features: int) -> None:
    encoder = Encoder(ModelConfig(10, encoder=name, encoded_size=None)).eval()
    assert encoder.feature_size == features
    with torch.inference_mode():
        assert encoder(photos(1, 64, 64)).shape == (1, 4, features)


@pytest.mark.parametrize(
    ("encoded_size", "positions"), [(None, 3 * 5), (14, 14 * 14), (1, 1), (2, 4)]
)
def test_grid_size_for_any_photo(
    config: ModelConfig, encoded_size: int | None, positions: int
) -> None:
    config = dataclasses.replace(config, encoded_size=encoded_size)
    encoder = Encoder(config).eval()
    with torch.inference_mode():
        assert encoder(photos(2, 96, 160)).shape == (2, positions, encoder.feature_size)


@pytest.mark.parametrize(
    "name",
    [
        "resnet18",
        "resnet50",
        "timm/tf_efficientnet_lite0",
        "timm/mobilenetv3_small_050",
        "timm/regnetx_002",
        "timm/densenet121",  # normalises what several convolutions give: stays as it is there
        "timm/test_convnext",  # no BatchNorm at all
    ],
)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_prepared_encoder_gives_the_same_grids(
    name: str, dtype: torch.dtype, device: torch.device
) -> None:
    torch.manual_seed(0)
    encoder = Encoder(ModelConfig(10, encoder=name, encoded_size=None)).double().eval()
    norms = [m for m in encoder.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:  # fresh ones would do nothing
        norm.weight.data.uniform_(0.5, 1.5)
        norm.bias.data.normal_(0, 0.1)
        norm.running_mean.normal_(0, 0.1)
        norm.running_var.uniform_(0.5, 1.5)
    seen = photos(2, 96, 64).to(device)
    encoder.to(device)
    with torch.inference_mode():
        before = encoder(seen)
        prepared = prepare_encoder(encoder.to(dtype), dtype)
        after = prepared(seen)
    assert after.dtype == dtype
    assert (after - before).norm() / before.norm() < (1e-4 if dtype == torch.float32 else 1e-9)
    left = sum(isinstance(m, nn.BatchNorm2d) for m in prepared.modules())
    assert left == 0 or (left < len(norms) and "densenet" in name)


def test_convolves_in_bfloat16(config: ModelConfig) -> None:
    encoder = Encoder(config).eval()
    with torch.inference_mode():
        before = encoder(photos(2, 96, 96))
        prepared = prepare_encoder(encoder, torch.bfloat16)
        after = prepared(photos(2, 96, 96))
    assert next(prepared.backbone.parameters()).dtype == torch.bfloat16
    assert after.dtype == torch.float32
    assert 0 < (after - before).norm() / before.norm() < 0.05


def test_normalises_as_configured(config: ModelConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    config = dataclasses.replace(config, image_mean=(0.2, 0.4, 0.6), image_std=(0.1, 0.2, 0.5))
    encoder = Encoder(config)
    seen = []
    monkeypatch.setattr(
        encoder.backbone,
        "forward_features",
        lambda x: seen.append(x) or torch.zeros(1, encoder.feature_size, 3, 3),
    )
    encoder(torch.full((1, 3, 96, 96), 51, dtype=torch.uint8))
    torch.testing.assert_close(seen[0][0, :, 0, 0], torch.tensor([0.0, -1.0, -0.8]))


def test_positions_run_along_rows(config: ModelConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = Encoder(config)
    features = torch.arange(6.0).view(1, 1, 2, 3).expand(1, encoder.feature_size, 2, 3)
    monkeypatch.setattr(encoder.backbone, "forward_features", lambda x: features)
    assert encoder(photos(1, 96, 96))[0, :, 0].tolist() == [0, 1, 2, 3, 4, 5]


def test_resnet_fine_tunes_blocks_2_to_4() -> None:
    encoder = Encoder(ModelConfig(10, encoder="resnet18"))
    encoder.fine_tune()
    blocks: dict[bool, set[str]] = {True: set(), False: set()}
    for name, parameter in encoder.backbone.named_parameters():
        blocks[parameter.requires_grad].add(name.split(".")[0])
    assert blocks == {True: {"5", "6", "7"}, False: {"0", "1", "4"}}
    encoder.fine_tune(False)
    assert not any(p.requires_grad for p in encoder.parameters())


def test_timm_fine_tunes_upper_stages() -> None:
    encoder = Encoder(ModelConfig(10, encoder="timm/tf_efficientnet_lite0"))
    encoder.fine_tune()
    frozen = {n for n, p in encoder.backbone.named_parameters() if not p.requires_grad}
    assert {n.rsplit(".", 3)[0] for n in frozen if n.startswith("blocks")} <= {
        "blocks.0.0", "blocks.1.0", "blocks.1.1", "blocks.0", "blocks.1",
    }  # fmt: skip
    assert "conv_stem.weight" in frozen
    assert "conv_head.weight" not in frozen
    assert not any(n.startswith("blocks.2") for n in frozen)


def statistics(module: nn.Module) -> dict[str, torch.Tensor]:
    return {n: b.clone() for n, b in module.named_buffers() if "running" in n}


@pytest.mark.parametrize("name", ["resnet18", "timm/test_efficientnet"])
def test_frozen_means_frozen_statistics_included(name: str) -> None:
    encoder = Encoder(ModelConfig(10, encoder=name, encoded_size=None))
    encoder.fine_tune(False)
    encoder.train()
    before = statistics(encoder.backbone)
    encoder(photos(2, 64, 64))
    assert all(torch.equal(b, before[n]) for n, b in statistics(encoder.backbone).items())

    encoder.fine_tune()
    encoder.train()
    encoder(photos(2, 64, 64))
    changed = {n for n, b in statistics(encoder.backbone).items() if not torch.equal(b, before[n])}
    learning = {
        n.rsplit(".", 1)[0] for n, p in encoder.backbone.named_parameters() if p.requires_grad
    }
    assert changed
    assert {n.rsplit(".", 1)[0] for n in changed} <= learning


def test_unsuitable_backbones_are_named(config: ModelConfig) -> None:
    with pytest.raises(ValueError, match="timm has no model 'resnet_of_dreams'"):
        Encoder(dataclasses.replace(config, encoder="timm/resnet_of_dreams"))
    encoder = Encoder(dataclasses.replace(config, encoder="timm/test_vit"))
    with pytest.raises(ValueError, match="not a feature map"):
        encoder(photos(1, 160, 160))
