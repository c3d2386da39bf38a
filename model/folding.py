"""BatchNorm folded into the convolution before it: the same function with less memory traffic.

In evaluation mode BatchNorm is a scale and a shift per channel, and so is a part of a convolution.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights


@torch.no_grad()
def fold_batch_norms(
    backbone: nn.Module, run: Callable[[nn.Module, torch.Tensor], torch.Tensor]
) -> nn.Module:
    """A copy of the backbone, in evaluation mode, without the BatchNorms that follow a convolution.

    Which convolution feeds which BatchNorm is seen on a small picture, not guessed from names.

    Parameters
    ----------
    run
        What calls the backbone with photos, shape = (B, 3, H, W).

    Returns
    -------
    The copy; the backbone itself if the copy does not see the same in the picture.
    """
    folded = copy.deepcopy(backbone)
    parameter = next(folded.parameters())
    picture = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)).to(parameter)
    pairs, before = _watch(folded, lambda: run(folded, picture))
    names = {module: name for name, module in folded.named_modules()}
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
        folded.set_submodule(names[norm], getattr(norm, "act", nn.Identity()))
    error = (run(folded, picture) - before).norm() / before.norm()
    return folded if error < 1e-3 else backbone


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
