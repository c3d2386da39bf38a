"""The same backbone with less memory traffic, for inference.

In evaluation mode BatchNorm is a scale and a shift per channel, and so is a part of a convolution.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from model.inference.products import (
    ACTIVATIONS,
    ActivatedConvolution,
    PointwiseConvolution,
    has_onednn,
    is_pointwise,
)


@torch.no_grad()
def folded(
    backbone: nn.Module,
    run: Callable[[nn.Module, torch.Tensor], torch.Tensor],
    dtype: torch.dtype,
) -> nn.Module:
    """A copy of the backbone, in evaluation mode, without the BatchNorms that follow a convolution.

    Which convolution feeds which BatchNorm is seen on a small picture, not guessed from names.
    Convolutions pad by themselves: see `_padding_itself`.

    Parameters
    ----------
    run
        What calls the backbone with photos, shape = (B, 3, H, W).
    dtype
        What the copy computes in.

    Returns
    -------
    The copy, for photos whose sides 32 divides; the backbone itself if the copy does not see the
    same in the picture.
    """
    copied = copy.deepcopy(backbone)
    parameter = next(copied.parameters())
    picture = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)).to(parameter)
    pairs, before = _watch(copied, lambda: run(copied, picture))
    names = {module: name for name, module in copied.named_modules()}
    for convolution, norm in pairs:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        convolution.weight, convolution.bias = fuse_conv_bn_weights(
            convolution.weight,
            convolution.bias,
            norm.running_mean,
            norm.running_var,
            norm.eps,
            norm.weight,
            norm.bias,
        )
        # timm's BatchNorm brings its activation along.
        copied.set_submodule(names[norm], getattr(norm, "act", nn.Identity()))
    for module, name in names.items():
        if type(module).__name__ == "Conv2dSame":
            copied.set_submodule(name, _padding_itself(module))
    error = (run(copied, picture) - before).norm() / before.norm()
    if not error < 1e-3:
        return backbone.to(dtype)
    copied.to(dtype)
    for convolution, norm in pairs:
        placed, activation = (copied.get_submodule(names[m]) for m in (convolution, norm))
        if type(placed) is not nn.Conv2d:  # timm's that pads
            continue
        if type(activation) in ACTIVATIONS and has_onednn(placed.weight):
            kind = PointwiseConvolution if is_pointwise(placed) else ActivatedConvolution
            copied.set_submodule(names[convolution], kind(placed, activation))
            copied.set_submodule(names[norm], nn.Identity())
    return copied


def _padding_itself(same: nn.Conv2d) -> nn.Conv2d:
    """A convolution with TensorFlow's SAME padding that need not copy its input to pad it.

    With stride 2 and an even input SAME is one more on the right and below than on the left and
    above. A row and a column of zeros before the kernel make that symmetric.
    """
    if same.stride != (2, 2) or same.dilation != (1, 1):
        return same
    height, width = same.kernel_size
    convolution = nn.Conv2d(
        same.in_channels,
        same.out_channels,
        (height + 1, width + 1),
        stride=2,
        padding=((height - 1) // 2, (width - 1) // 2),
        groups=same.groups,
        bias=same.bias is not None,
    )
    convolution.weight = nn.Parameter(F.pad(same.weight, (1, 0, 1, 0)))
    convolution.bias = same.bias
    return convolution


def _watch(
    backbone: nn.Module, run: Callable[[], torch.Tensor]
) -> tuple[list[tuple[nn.Conv2d, nn.BatchNorm2d]], torch.Tensor]:
    """What runs, and the BatchNorms that read a convolution's output."""
    outputs: list[tuple[torch.Tensor, nn.Conv2d]] = []
    pairs: list[tuple[nn.Conv2d, nn.BatchNorm2d]] = []

    def remember(convolution: nn.Module, _: object, output: torch.Tensor) -> None:
        assert isinstance(convolution, nn.Conv2d)
        outputs.append((output, convolution))

    def match(norm: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        assert isinstance(norm, nn.BatchNorm2d)
        pairs.extend((source, norm) for output, source in outputs if output is inputs[0])

    hooks = []
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d):
            hooks.append(module.register_forward_hook(remember))
        elif isinstance(module, nn.BatchNorm2d):
            hooks.append(module.register_forward_pre_hook(match))
    result = run()
    for hook in hooks:
        hook.remove()
    return pairs, result
