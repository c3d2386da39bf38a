"""Folding: a copy of a backbone with less memory traffic, for inference.

In evaluation mode BatchNorm is a scale and a shift for each channel, and a convolution can do that
itself.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from model.inference.products import ACTIVATIONS, activated

Pair = tuple[nn.Conv2d, nn.BatchNorm2d]  # the second reads the first one's output
MAX_ERROR = 1e-3  # of the copy's output, relative to the backbone's


@torch.no_grad()
def fold(
    backbone: nn.Module,
    run: Callable[[nn.Module, torch.Tensor], torch.Tensor],
    dtype: torch.dtype,
    first: Sequence[str] = (),
) -> nn.Module:
    """Return a copy of a backbone, for inference, that computes the same with fewer modules.

    BatchNorms that follow a convolution are folded into it, activations that follow are applied by
    it, and it pads by itself: see `_padding_itself`. Which convolution feeds which BatchNorm is
    observed on a small picture, not guessed from names.

    Parameters
    ----------
    run
        A function that runs the backbone on photos, shape = (B, 3, H, W).
    dtype
        The type that the copy computes in, but for its first modules.
    first
        The names of the modules that run first, in order. They keep the backbone's own type.

    Returns
    -------
    The copy, for photos whose sides are multiples of 32; a plain copy if the folded one does not
    compute the same for the picture.
    """
    folded = copy.deepcopy(backbone).eval()
    parameter = next(folded.parameters())
    picture = noise_picture(parameter)
    pairs, before = observe(folded, lambda: run(folded, picture))
    names = {module: name for name, module in folded.named_modules()}
    for convolution, norm in pairs:
        _merge(convolution, norm)
        # timm's BatchNorm contains its activation.
        folded.set_submodule(names[norm], getattr(norm, "act", nn.Identity()))
    for module, name in names.items():
        if type(module).__name__ == "Conv2dSame":
            folded.set_submodule(name, _padding_itself(module))
    error = (run(folded, picture) - before).norm() / before.norm()
    if not error < MAX_ERROR:
        return copy.deepcopy(backbone).eval().to(dtype)
    # Not rounded where oneDNN computes, which adds them to sums in float32.
    biases = {c: None if c.bias is None else c.bias.detach().clone() for c, _ in pairs}
    kept = {name: folded.get_submodule(name) for name in first if dtype != parameter.dtype}
    for name in kept:
        folded.set_submodule(name, nn.Identity())
    folded.to(dtype)
    for name, module in kept.items():
        folded.set_submodule(name, module)
    for convolution, norm in pairs:
        placed, activation = (folded.get_submodule(names[m]) for m in (convolution, norm))
        # A convolution of timm's that still pads is left as it is.
        if type(placed) is nn.Conv2d and type(activation) in ACTIVATIONS:
            bias = biases[convolution]
            folded.set_submodule(names[convolution], activated(placed, activation, bias))
            folded.set_submodule(names[norm], nn.Identity())
    if kept:
        *_, last = kept
        folded.set_submodule(last, nn.Sequential(folded.get_submodule(last), _To(dtype)))
    return folded


class _To(nn.Module):
    """Convert the output of the module before to another type."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self._dtype = dtype

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.to(self._dtype)


def noise_picture(like: torch.Tensor) -> torch.Tensor:
    """Return a small picture of noise, (1, 3, 64, 64), of the device and type of a tensor."""
    return torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)).to(like)


def _merge(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """Give a convolution the scale and shift of the BatchNorm that follows it."""
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


def _padding_itself(same: nn.Conv2d) -> nn.Conv2d:
    """Return a convolution with TensorFlow's SAME padding that need not copy its input to pad it.

    With stride 2 and an even input, SAME is one more on the right and below than on the left and
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


def observe(
    backbone: nn.Module, run: Callable[[], torch.Tensor]
) -> tuple[list[Pair], torch.Tensor]:
    """Run a backbone; return the BatchNorms that read a convolution's output, and the result."""
    outputs: list[tuple[torch.Tensor, nn.Conv2d]] = []
    pairs: list[Pair] = []

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
