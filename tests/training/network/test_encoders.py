from __future__ import annotations

import pytest
import torch
from torch import nn

from model.config import ModelConfig
from model.encoder import Encoder
from training.network.encoders import MICRO_BATCH, LearningEncoder, depthwise_in_float32


@pytest.fixture
def encoder() -> Encoder:
    torch.manual_seed(0)
    config = ModelConfig(5, "timm/tf_efficientnet_lite0", image_size=64, encoded_size=None)
    encoder = Encoder(config).eval()
    encoder.fine_tune()
    return encoder


@pytest.fixture
def photos() -> torch.Tensor:
    """Return more photos than a micro-batch, and not a multiple of it."""
    return torch.randint(0, 256, (MICRO_BATCH * 2 + 3, 3, 64, 64), dtype=torch.uint8)


def gradients(encoder: Encoder, grid: torch.Tensor) -> dict[str, torch.Tensor]:
    encoder.zero_grad()
    grid.double().square().mean().backward()
    return {n: p.grad.clone() for n, p in encoder.named_parameters() if p.grad is not None}


@pytest.mark.slow
def test_micro_batches_change_nothing(encoder: Encoder, photos: torch.Tensor) -> None:
    encoder.double()
    whole, parts = encoder(photos), LearningEncoder(encoder)(photos)
    torch.testing.assert_close(parts, whole)
    expected, found = gradients(encoder, whole), gradients(encoder, parts)
    assert expected
    torch.testing.assert_close(found, expected)


def test_under_autocast_only_depthwise_convolutions_stay_in_float32(
    encoder: Encoder, photos: torch.Tensor
) -> None:
    seen: dict[bool, set[torch.dtype]] = {True: set(), False: set()}

    def remember(convolution: nn.Conv2d, inputs: object, output: torch.Tensor) -> None:
        seen[convolution.groups > 1].add(output.dtype)

    for module in encoder.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(remember)
    with torch.autocast("cpu", torch.bfloat16):
        grid = LearningEncoder(encoder)(photos)
    assert seen == {True: {torch.float32}, False: {torch.bfloat16}}

    found, expected = gradients(encoder, grid), gradients(encoder, encoder(photos))
    assert found.keys() == expected.keys()
    ours, exact = (torch.cat([g.flatten() for g in all_.values()]) for all_ in (found, expected))
    assert torch.cosine_similarity(ours, exact, dim=0) > 0.95


def test_autocast_and_the_network_are_left_as_they_were(encoder: Encoder) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("in the middle")

    depthwise = [m for m in encoder.modules() if isinstance(m, nn.Conv2d) and m.groups > 1]
    failing = depthwise[3].register_forward_pre_hook(fail)
    photos = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    with torch.autocast("cpu", torch.bfloat16):
        with pytest.raises(RuntimeError, match="in the middle"), depthwise_in_float32(encoder):
            encoder(photos)
        assert torch.is_autocast_enabled("cpu")
    failing.remove()
    with depthwise_in_float32(encoder):
        encoder(photos)
    assert not torch.is_autocast_enabled("cpu")
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in encoder.modules())
