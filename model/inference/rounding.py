"""Rounding of an encoder's weights, so that bfloat16 holds what its convolutions multiply with.

Half of the error of a convolution in bfloat16 is that of its weights, and it is the same for every
pixel of every photo. Weights that are rounded before the captioner's last training cost nothing
when they are rounded again. What a convolution multiplies with is its weight folded with the
BatchNorm that follows; see `model.inference.folding`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from model.encoder import Encoder, feature_map
from model.inference.folding import noise_picture, observe
from model.network import ShowAttendTell

# The root of the mean square error of rounding, relative to the weights: 0.0016 in bfloat16,
# 0.0002 in the half precision that a checkpoint is kept in.
MAX_ERROR = 5e-4


@torch.no_grad()
def rounded(network: ShowAttendTell) -> ShowAttendTell:
    """Return a copy of a network, for evaluation, whose encoder's weights are rounded to bfloat16.

    The modules that a prepared encoder computes in float32 are left as they are.
    """
    network = copy.deepcopy(network).eval()
    for convolution, scale in _scaled(network.encoder):
        weight = (convolution.weight * scale).bfloat16() / scale
        convolution.weight.copy_(weight.where(scale != 0, convolution.weight))
    return network


@torch.no_grad()
def is_rounded(encoder: Encoder) -> bool:
    """Whether the encoder's weights are what `rounded` leaves."""
    errors = [_error(convolution.weight * scale) for convolution, scale in _scaled(encoder)]
    return bool(errors) and max(errors) < MAX_ERROR


def _error(weight: torch.Tensor) -> float:
    return float((weight - weight.bfloat16()).norm() / weight.norm().clamp(min=1e-30))


def _scaled(encoder: Encoder) -> Iterator[tuple[nn.Conv2d, torch.Tensor]]:
    """Yield the convolutions that may compute in bfloat16, and the scale that each is folded with.

    A scale has a value for each output, shape = (out, 1, 1, 1).
    """
    if encoder.image_size % 32:  # never folded
        return
    backbone = encoder.backbone
    names = {module: name for name, module in backbone.named_modules()}
    first = tuple(f"{name}." for name in encoder.first)
    picture = noise_picture(next(backbone.parameters()))
    for convolution, norm in observe(backbone, lambda: feature_map(backbone, picture))[0]:
        if not f"{names[convolution]}.".startswith(first):
            assert norm.running_mean is not None
            assert norm.running_var is not None
            ones = torch.ones_like(convolution.weight[:, :1, :1, :1])
            scale, _ = fuse_conv_bn_weights(
                ones, None, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
            )
            yield convolution, scale
