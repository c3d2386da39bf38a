"""A map of attention laid over its photo."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Map = NDArray[np.floating[Any]]

# Attention is shown in multiples of an even share, 1 / P: plain grey up to EVEN, full colour from
# FULL on. The scale is the same for all words and photos, so a peaked map looks peaked.
EVEN, FULL = 1.0, 4.0
SMOOTHING = 0.5  # standard deviation of the blur, in cells of the grid
DARK, LIGHT = np.array([225.0, 80.0, 0.0]), np.array([255.0, 240.0, 160.0])  # RGB of full colour


def overlay(photo: Image.Image, attention: Map, smooth: bool = True) -> Image.Image:
    """Return a photo in dim grey, and in bright orange where the attention is.

    Grey against hue keeps the attention visible on dark photos and light ones alike.

    Parameters
    ----------
    attention
        Weights of the grid's cells, which sum to 1, shape = (h, w).
    smooth
        See `stretch`.

    Returns
    -------
    RGB, of the photo's size
    """
    light = np.asarray(photo.convert("L"), dtype=np.float32)[..., None] / 255
    shares = stretch(attention, (photo.height, photo.width), smooth)[..., None] * attention.size
    strength = np.clip((shares - EVEN) / (FULL - EVEN), 0, 1) ** 0.75
    grey, color = 255 * (0.1 + 0.5 * light), DARK + (LIGHT - DARK) * light
    pixels = (1 - strength) * grey + strength * color
    return Image.fromarray(pixels.round().astype(np.uint8))


def stretch(attention: Map, size: tuple[int, int], smooth: bool) -> Map:
    """Stretch a map of attention to the shape of its photo.

    Parameters
    ----------
    attention
        Shape = (h, w).
    size
        Height and width of the photo, pixels.
    smooth
        Whether to blur by a Gaussian of `SMOOTHING` cells; otherwise each pixel has the value of
        its cell.

    Returns
    -------
    Every pixel a weighted mean of cells, so that an even map stays even, shape = ``size``
    """
    rows, columns = (
        _cell_weights(n, cells, smooth) for n, cells in zip(size, attention.shape, strict=True)
    )
    return np.asarray(rows @ attention @ columns.T)


def _cell_weights(pixels: int, cells: int, smooth: bool) -> Map:
    """Return the weight of each cell in each pixel along one side, shape = (pixels, cells)."""
    position = (np.arange(pixels) + 0.5) * cells / pixels
    if not smooth:
        return np.asarray(np.eye(cells)[position.astype(int)])
    distance = position[:, None] - (np.arange(cells) + 0.5)
    weights: Map = np.exp(-0.5 * (distance / SMOOTHING) ** 2)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))
