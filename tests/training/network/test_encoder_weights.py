"""ImageNet weights of encoders: from packages, files and downloads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

from model.config import ModelConfig
from model.encoder import Encoder
from training.network import encoder_weights
from training.network.encoder_weights import load_encoder_weights, normalisation


def lite(name: str) -> Encoder:
    return Encoder(ModelConfig(10, encoder=name, image_size=224, encoded_size=None))


def save_weights(weights: dict[str, torch.Tensor], path: Path) -> None:
    if path.suffix == ".safetensors":
        save_file({name: tensor.contiguous().clone() for name, tensor in weights.items()}, path)
    else:
        torch.save(weights, path)


@pytest.mark.parametrize("name", ["timm/tf_efficientnet_lite0", "timm/tf_efficientnet_lite1"])
def test_weights_of_a_package_fill_the_encoder(name: str) -> None:
    encoder = lite(name)
    load_encoder_weights(encoder, "imagenet")
    stem = encoder.backbone.get_parameter("conv_stem.weight")
    assert stem.std() > 0.1  # trained, not initialised
    assert normalisation(name)["image_mean"] == (0.5, 0.5, 0.5)
    # The package's order is that of the network, which tells whether the names are right.
    given = list(encoder_weights._from_pip_package(name).values())
    wanted = encoder.backbone.state_dict()
    assert all(torch.equal(one, two) for one, two in zip(wanted.values(), given, strict=False))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_are_found_by_name_whatever_their_order(suffix: str, tmp_path: Path) -> None:
    """safetensors sorts them; a head, a prefix or a counter less changes nothing."""
    name = "timm/tf_efficientnet_lite0"
    encoder, path = lite(name), tmp_path / f"weights{suffix}"
    weights = encoder.backbone.state_dict()
    kept = {n: t for n, t in weights.items() if not n.endswith("num_batches_tracked")}
    prefixed = {f"encoder.backbone.{n}": t for n, t in reversed(kept.items())}
    of_package = encoder_weights._from_pip_package(name)
    load_encoder_weights(encoder, "imagenet")
    trained = encoder.backbone.state_dict()
    for given, wanted in (
        (dict(reversed(trained.items())) | {"classifier.bias": torch.zeros(3)}, trained),
        (prefixed, weights),
        (of_package, trained),
    ):
        save_weights(given, path)
        other = lite(name)
        load_encoder_weights(other, str(path))
        for key, value in other.backbone.state_dict().items():
            assert torch.equal(value, wanted[key])


def test_weights_that_do_not_fit_name_the_first_tensor(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    weights = torchvision.models.resnet18(weights=None).state_dict()
    resnet = Encoder(ModelConfig(10, encoder="resnet18"))
    for change, message in (
        ({"layer1.0.conv1.weight": torch.zeros(2, 3)}, r"layer1\.0\.conv1\.weight is of shape \(2"),
        ({"bn1.bias": 3}, r"bn1\.bias is no tensor"),
    ):
        torch.save(weights | change, path)
        with pytest.raises(ValueError, match=f"not fit the encoder resnet18: {message}"):
            load_encoder_weights(resnet, str(path))
    del weights["layer2.1.bn2.weight"]
    torch.save(weights, path)
    with pytest.raises(ValueError, match=r"resnet18: they lack layer2\.1\.bn2\.weight"):
        load_encoder_weights(resnet, str(path))
    # Of two tensors of one shape each is where its name says, not where it stands.
    torch.save(lite("timm/tf_efficientnet_lite0").backbone.state_dict(), path)
    with pytest.raises(ValueError, match="do not fit the encoder resnet18: they lack"):
        load_encoder_weights(resnet, str(path))
    torch.save([torch.zeros(1)], path)
    with pytest.raises(ValueError, match="cannot be read: it holds no state dict"):
        load_encoder_weights(resnet, str(path))
    with pytest.raises(ValueError, match=r"nowhere\.pth cannot be read"):
        load_encoder_weights(resnet, str(tmp_path / "nowhere.pth"))


@pytest.mark.parametrize("encoder", ["resnet101", "timm/resnet10t"])
def test_downloads_are_announced_and_installed_weights_offered(
    encoder: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def offline(*arguments: Any, **options: Any) -> None:
        assert f"{encoder}: fetching its ImageNet weights" in caplog.text
        raise OSError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torchvision.models, "get_model", offline)
    monkeypatch.setattr(timm, "create_model", offline)
    with caplog.at_level("INFO"), pytest.raises(ValueError, match="no route to host") as error:
        encoder_weights._downloaded(encoder)
    assert "--network.encoder_weights PATH" in str(error.value)
    assert "--network.encoder timm/tf_efficientnet_lite1" in str(error.value)
    if encoder == "resnet101":
        assert "MB, from https://download.pytorch.org/models/resnet101" in caplog.text


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_torchvision_weights_fit_without_their_head(suffix: str, tmp_path: Path) -> None:
    source, path = torchvision.models.resnet18(weights=None), tmp_path / f"resnet18{suffix}"
    save_weights(source.state_dict(), path)
    encoder = Encoder(ModelConfig(10, encoder="resnet18"))
    load_encoder_weights(encoder, str(path))
    assert torch.equal(encoder.backbone.get_parameter("0.weight"), source.conv1.weight)
    assert torch.equal(
        encoder.backbone.get_parameter("7.1.conv2.weight"), source.layer4[1].conv2.weight
    )
