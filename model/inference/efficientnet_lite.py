"""EfficientNet-Lite without its head, with timm's parameter names, so that its weights load.

timm builds the same network. But importing timm, and torchvision with it, takes 190 MB and more
time than everything else that a captioner does before its first caption.
"""

from __future__ import annotations

import math
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

# Width and depth relative to lite0, as in the reference:
# github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite
VARIANTS = {
    "tf_efficientnet_lite0": (1.0, 1.0),
    "tf_efficientnet_lite1": (1.0, 1.1),
    "tf_efficientnet_lite2": (1.1, 1.2),
    "tf_efficientnet_lite3": (1.2, 1.4),
    "tf_efficientnet_lite4": (1.4, 1.8),
}
STEM, FEATURES, EXPANSION = 32, 1280, 6
# Blocks, kernel, stride and channels of each stage of lite0; Tan and Le 2019, table 1.
STAGES = (
    (1, 3, 1, 16),
    (2, 3, 2, 24),
    (2, 5, 2, 40),
    (3, 3, 2, 80),
    (3, 5, 1, 112),
    (4, 5, 2, 192),
    (1, 3, 1, 320),
)


class EfficientNetLite(nn.Module):
    """Photos (B, 3, H, W), normalised, to features (B, 1280, H / 32, W / 32).

    Parameters
    ----------
    variant
        One of `VARIANTS`.
    """

    # The modules that compute in float32 even where the others do in bfloat16: rounding what these
    # compute is more than half of the mean square error of the features.
    first = ("conv_stem", "bn1", "blocks.0")

    def __init__(self, variant: str) -> None:
        super().__init__()
        width, depth = VARIANTS[variant]
        self.num_features = FEATURES
        self.conv_stem = Conv2dSame(3, STEM, 3, stride=2, bias=False)
        self.bn1 = _NormActivation(STEM, nn.ReLU6(inplace=True))
        stages, channels = [], STEM
        for number, (blocks, kernel, stride, out) in enumerate(STAGES):
            out = _multiple_of_eight(out * width)
            if 0 < number < len(STAGES) - 1:  # the first and the last are never deepened
                blocks = math.ceil(blocks * depth)
            kind = partial(_Inverted, kernel=kernel) if number else _Separable
            layers = [kind(channels, out, stride=stride)]
            layers += [kind(out, out, stride=1) for _ in range(blocks - 1)]
            stages.append(nn.Sequential(*layers))
            channels = out
        self.blocks = nn.Sequential(*stages)
        self.conv_head = nn.Conv2d(channels, FEATURES, 1, bias=False)
        self.bn2 = _NormActivation(FEATURES, nn.ReLU6(inplace=True))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):  # He et al. 2015, by the number of outputs
                outputs = math.prod(module.kernel_size) * module.out_channels // module.groups
                nn.init.normal_(module.weight, std=math.sqrt(2 / outputs))

    def forward(self, photos: torch.Tensor) -> torch.Tensor:
        features = self.blocks(self.bn1(self.conv_stem(photos)))
        mapped: torch.Tensor = self.bn2(self.conv_head(features))
        return mapped

    def upper(self) -> frozenset[str]:
        """Return the names of the parameters of the upper stages, the third and all after it."""
        below = ("conv_stem.", "bn1.", "blocks.0.", "blocks.1.")
        return frozenset(n for n, _ in self.named_parameters() if not n.startswith(below))


class _NormActivation(nn.BatchNorm2d):
    """BatchNorm and the activation after it, one module as in timm."""

    def __init__(self, channels: int, act: nn.Module) -> None:
        super().__init__(channels, eps=1e-3)
        self.act = act

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        activated: torch.Tensor = self.act(super().forward(x))
        return activated


class Conv2dSame(nn.Conv2d):
    """A convolution with TensorFlow's SAME padding: an odd pixel of it lies right and below."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        (height, width), (kernel, _), (stride, _) = x.shape[-2:], self.kernel_size, self.stride
        above, before = (
            max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
            for size in (height, width)
        )
        padding = (before // 2, before - before // 2, above // 2, above - above // 2)
        return super().forward(F.pad(x, padding))


class _Separable(nn.Module):
    """A depthwise and a pointwise convolution; Howard et al. 2017."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv_dw = _depthwise(channels, 3, stride)
        self.bn1 = _NormActivation(channels, nn.ReLU6(inplace=True))
        self.conv_pw = nn.Conv2d(channels, out, 1, bias=False)
        self.bn2 = _NormActivation(out, nn.Identity())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        narrow: torch.Tensor = self.bn2(self.conv_pw(self.bn1(self.conv_dw(x))))
        return narrow


class _Inverted(nn.Module):
    """An inverted residual block; Sandler et al. 2018."""

    def __init__(self, channels: int, out: int, stride: int, kernel: int) -> None:
        super().__init__()
        wide = channels * EXPANSION
        self.conv_pw = nn.Conv2d(channels, wide, 1, bias=False)
        self.bn1 = _NormActivation(wide, nn.ReLU6(inplace=True))
        self.conv_dw = _depthwise(wide, kernel, stride)
        self.bn2 = _NormActivation(wide, nn.ReLU6(inplace=True))
        self.conv_pwl = nn.Conv2d(wide, out, 1, bias=False)
        self.bn3 = _NormActivation(out, nn.Identity())
        self.has_skip = stride == 1 and channels == out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        wide = self.bn2(self.conv_dw(self.bn1(self.conv_pw(x))))
        narrow: torch.Tensor = self.bn3(self.conv_pwl(wide))
        return narrow + x if self.has_skip else narrow


def _depthwise(channels: int, kernel: int, stride: int) -> nn.Conv2d:
    make = partial(nn.Conv2d, padding=kernel // 2) if stride == 1 else Conv2dSame
    return make(channels, channels, kernel, stride=stride, groups=channels, bias=False)


def _multiple_of_eight(channels: float) -> int:
    """Round to the nearest multiple of eight that is not more than a tenth less."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * channels else nearest + 8
