"""Random changes of photos to train on: crops, flips, colours, erased parts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torchvision.transforms.v2 import functional as transforms

_CROP_ASPECT = (0.9, 1.1)  # height to width
_ERASED_AREA = (0.02, 0.2)  # of the photo
_ERASED_ASPECT = (0.3, 1 / 0.3)  # height to width
_LUMA = (0.299, 0.587, 0.114)  # of red, green and blue, ITU-R BT.601


@dataclass(frozen=True)
class Augmentation:
    """The strength of random changes of photos.

    Parameters
    ----------
    crop
        Smallest share of a photo that a crop keeps, 0..1.
    colour
        Strength of the changes of brightness, contrast and saturation, 0..1: each is multiplied by
        a factor in 1 - colour..1 + colour. Hue stays, because captions name colours.
    erase
        Probability that a rectangle of a photo is filled with the photo's mean colour
        (Zhong et al. 2017, https://arxiv.org/abs/1708.04896).
    """

    crop: float = 0.7
    colour: float = 0.0
    erase: float = 0.0

    def augmented(
        self, pixels: torch.Tensor, random: np.random.Generator, may_flip: bool
    ) -> torch.Tensor:
        """Return the pixels of a changed photo, uint8 (3, S, S).

        Each kind of change draws after those before it, and a kind that is off draws nothing: the
        crops and flips are the same whatever else is on.
        """
        pixels = self._cropped(pixels, random, may_flip)
        if self.colour:
            pixels = recoloured(pixels, *random.uniform(1 - self.colour, 1 + self.colour, 3))
        if self.erase and random.random() < self.erase:
            pixels = _erased(pixels, random)
        return pixels

    def _cropped(
        self, pixels: torch.Tensor, random: np.random.Generator, may_flip: bool
    ) -> torch.Tensor:
        side = pixels.shape[-1]
        height, width = _drawn_size(side, (self.crop, 1.0), _CROP_ASPECT, random)
        top, left = random.integers(side - height + 1), random.integers(side - width + 1)
        if random.random() < 0.5 and may_flip:
            pixels = pixels.flip(-1)
        cropped: torch.Tensor = transforms.resized_crop(
            pixels, int(top), int(left), height, width, [side, side], antialias=True
        )
        return cropped


def _drawn_size(
    side: int,
    areas: tuple[float, float],
    aspects: tuple[float, float],
    random: np.random.Generator,
) -> tuple[int, int]:
    """Return the height and width, pixels, of a random rectangle in a square photo."""
    area, aspect = random.uniform(*areas), np.exp(random.uniform(*np.log(aspects)))
    height = min(side, round(side * np.sqrt(area / aspect)))
    width = min(side, round(side * np.sqrt(area * aspect)))
    return height, width


def recoloured(
    pixels: torch.Tensor, brightness: float, contrast: float, saturation: float
) -> torch.Tensor:
    """Return a photo whose brightness, contrast and saturation are multiplied by factors.

    Brightness scales all values, contrast their distance from the photo's mean grey, and
    saturation that from the pixel's own grey. Together they are one linear function. It is
    computed by exact sums and by products and sums of floats that are rounded one by one, so that
    the result does not depend on the number of threads.
    """
    mean = float(np.dot(_LUMA, _mean_colour(pixels)))
    values = pixels.float()
    red, green, blue = (share * channel for share, channel in zip(_LUMA, values, strict=True))
    grey = red.add_(green).add_(blue)
    scale = brightness * contrast
    grey.mul_(scale * (1 - saturation)).add_(brightness * (1 - contrast) * mean + 0.5)
    # The half rounds to the nearest, because the conversion cuts fractions off.
    return values.mul_(scale * saturation).add_(grey).clamp_(0, 255).to(torch.uint8)


def _erased(pixels: torch.Tensor, random: np.random.Generator) -> torch.Tensor:
    """Return a photo with a random rectangle filled with the photo's mean colour."""
    side = pixels.shape[-1]
    height, width = _drawn_size(side, _ERASED_AREA, _ERASED_ASPECT, random)
    top, left = random.integers(side - height + 1), random.integers(side - width + 1)
    colour = torch.tensor(_mean_colour(pixels)).round().to(torch.uint8)
    pixels = pixels.clone()
    pixels[:, top : top + height, left : left + width] = colour[:, None, None]
    return pixels


def _mean_colour(pixels: torch.Tensor) -> list[float]:
    """Return the mean red, green and blue of a photo, 0..255."""
    return [total / pixels[0].numel() for total in pixels.sum((1, 2)).tolist()]
