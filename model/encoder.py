"""The encoder: a convolutional backbone without its head, from photos to grids of features."""

from __future__ import annotations

import math
from typing import Self

import torch
from torch import nn

from model.config import TIMM_PREFIX, ModelConfig
from model.inference.efficientnet_lite import VARIANTS, EfficientNetLite

# Photos that a CPU encodes together: the output of a layer then stays in its cache until the next.
# Eight take a sixth less time in bfloat16, but in two lanes 50 MB more.
MICRO_BATCH = 4


class Encoder(nn.Module):
    """A backbone that turns photos (B, 3, H, W) into grids (B, P, D); Xu et al. 2015, 3.1.1.

    It is built with random weights: nothing is fetched here. ``feature_size`` is D.

    Raises
    ------
    ValueError
        timm has no backbone of that name, or (when it runs) the backbone gives no feature map.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.name, self.image_size = config.encoder, config.image_size
        self.backbone: nn.Module
        if config.encoder.startswith(TIMM_PREFIX):
            self.backbone, self.feature_size, self._upper = _timm(config.encoder)
        else:
            self.backbone, self.feature_size, self._upper = _resnet(config.encoder)
        lite = isinstance(self.backbone, EfficientNetLite)
        self.first = EfficientNetLite.first if lite else ()
        self.put_channels_last()
        self.pool: nn.Module = (
            nn.Identity()
            if config.encoded_size is None
            else nn.AdaptiveAvgPool2d(config.encoded_size)
        )
        for name in ("image_mean", "image_std"):
            constant = torch.tensor(getattr(config, name), device="cpu").view(1, 3, 1, 1)
            self.register_buffer(name, constant, persistent=False)
        self.image_mean: torch.Tensor
        self.image_std: torch.Tensor

    def forward(self, photos: torch.Tensor) -> torch.Tensor:
        """Encode photos.

        Parameters
        ----------
        photos
            RGB 0..255, uint8, shape = (B, 3, H, W); any H and W the backbone can halve five times.

        Returns
        -------
        shape = (B, P, D)
        """
        # (photos / 255 - mean) / std in one pass over the pixels.
        shift, scale = -self.image_mean / self.image_std, 1 / (255 * self.image_std)
        normalised = torch.addcmul(shift, photos.to(self.image_mean.dtype), scale)
        dtype = next(self.backbone.parameters()).dtype
        features = feature_map(self.backbone, normalised.to(dtype))
        if features.ndim != 4 or features.shape[1] != self.feature_size:
            raise ValueError(
                f"encoder {self.name} gives {tuple(features.shape)}, not a feature map of"
                f" (B, {self.feature_size}, h, w); choose a convolutional backbone"
            )
        pooled: torch.Tensor = self.pool(features).to(self.image_mean.dtype)
        return pooled.flatten(2).transpose(1, 2)

    def in_micro_batches(self, photos: torch.Tensor, size: int = MICRO_BATCH) -> torch.Tensor:
        """Encode photos that lie on any device; on a CPU at most ``size`` of them at a time.

        The results of a layer for more photos would leave the CPU's cache, and the system would
        provide their memory page by page.
        """
        device = self.image_mean.device
        count = math.ceil(len(photos) / size) if device.type == "cpu" else 1
        return torch.cat([self(part.to(device)) for part in torch.tensor_split(photos, count)])

    def put_channels_last(self) -> None:
        """Lay the weights out with the channels innermost, which is twice as fast on a CPU."""
        self.backbone = self.backbone.to(memory_format=torch.channels_last)

    def fine_tune(self, enable: bool = True) -> None:
        """Let the upper stages learn, or freeze all. The lower stages are always frozen.

        The upper stages are a ResNet's convolutional blocks 2 to 4, and all of a timm backbone but
        its stem and the first third of its stages.
        """
        for name, parameter in self.backbone.named_parameters():
            parameter.requires_grad_(enable and name in self._upper)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Switch to training mode or back; frozen layers keep evaluation mode and statistics."""
        super().train(mode)
        for module in self.backbone.modules():
            parameters = list(module.parameters())
            if parameters and not any(p.requires_grad for p in parameters):
                module.eval()
        return self


def feature_map(backbone: nn.Module, photos: torch.Tensor) -> torch.Tensor:
    """Run a backbone on normalised photos, to (B, D, h, w), without timm's pooling and head."""
    features: torch.Tensor = getattr(backbone, "forward_features", backbone)(photos)
    return features


def _resnet(name: str) -> tuple[nn.Module, int, frozenset[str]]:
    import torchvision  # here, because timm backbones do not need it

    resnet = torchvision.models.get_model(name, weights=None)
    # Without pooling and classification; numbered children keep the tutorial's parameter names.
    backbone = nn.Sequential(*list(resnet.children())[:-2])
    upper = (n for n, _ in backbone.named_parameters() if int(n.split(".")[0]) >= 5)
    return backbone, resnet.fc.in_features, frozenset(upper)


def _timm(name: str) -> tuple[nn.Module, int, frozenset[str]]:
    timm_name = name.removeprefix(TIMM_PREFIX)
    if timm_name in VARIANTS:
        lite = EfficientNetLite(timm_name)
        return lite, lite.num_features, lite.upper()

    import timm  # here, because it is slow to import and other backbones do not need it

    if not timm.is_model(timm_name):
        raise ValueError(f"encoder is {name!r}, but timm has no model {timm_name!r}")
    backbone = timm.create_model(timm_name, pretrained=False, num_classes=0, global_pool="")
    groups = timm.models.group_parameters(backbone, backbone.group_matcher(coarse=True))
    stages = sorted(groups)[1:]
    upper = (n for stage in stages[len(stages) // 3 :] for n in groups[stage])
    return backbone, backbone.num_features, frozenset(upper)
