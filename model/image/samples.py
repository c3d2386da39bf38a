"""Samples: pixels of any depth and transparency become an opaque picture of 8 bits."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from model.image.profiles import without_profile

BAND = 4_000_000  # pixels that are converted together

# The factors by which Pillow scales a PNG's grey samples to 8 bits, by their raw mode. It does not
# scale their transparent colour.
_SCALES = {"L;2": 85, "L;4": 17}
# Steps of a sample of 12, 16 or 32 bits that make one step of a sample of 8 bits.
_STEPS = {12: 16, 16: 257, 32: 2**24}


def scale_transparent_color(image: Image.Image, data: bytes) -> Image.Image | None:
    """Scale the transparent colour of a PNG to the units in which Pillow compares it.

    Parameters
    ----------
    image
        Opened, not loaded; changed in place.
    data
        The file it was opened from.

    Returns
    -------
    A picture of the lower bytes, which Pillow drops, if the PNG has 3 x 16 bits; else None.
    """
    key = image.info.get("transparency")
    if not isinstance(image, PngImageFile) or key is None or not image.tile:
        return None
    raw = image.tile[0].args
    if raw in _SCALES:
        image.info["transparency"] = key % (1 + 255 // _SCALES[raw]) * _SCALES[raw]
    if raw != "RGB;16B":
        return None
    lower = PngImageFile(io.BytesIO(without_profile(data)))
    # Read the same bytes as samples whose last byte is the high one.
    lower.tile = [tile._replace(args="RGB;16L") for tile in lower.tile]
    return lower


def flatten(
    image: Image.Image,
    mode: str,
    shrink: int = 1,
    bits: int = 16,
    negative: bool = False,
    lower: Image.Image | None = None,
) -> Image.Image:
    """Return a picture in RGB, L, CMYK or LAB: deep samples scaled, transparency laid on white.

    Parameters
    ----------
    image
        Loaded.
    mode
        The picture's mode, which must be able to hold the image's colours.
    shrink
        Squares of so many pixels each way become one pixel, their mean.
    bits, negative
        The depth of samples that have more than 8 bits, and whether 0 is white among them.
    lower
        The picture that `scale_transparent_color` returned, loaded.
    """
    if image.mode == mode and not image.has_transparency_data:
        return image if shrink == 1 else image.reduce(shrink)
    size = tuple(-(-side // shrink) for side in image.size)
    picture = Image.new(mode, (size[0], size[1]))
    rows = max(1, BAND // image.width // shrink) * shrink
    for top in range(0, image.height, rows):  # in bands, so that no third copy of the whole is made
        box = (0, top, image.width, min(top + rows, image.height))
        band = image.crop(box)
        if band.mode.startswith("I"):
            band = _shallow(band, bits, negative)
        elif lower is not None:
            band = _without_key(band, lower.crop(box))
        band = _on_white(band, mode)
        picture.paste(band if shrink == 1 else band.reduce(shrink), (0, top // shrink))
    return picture


def _shallow(band: Image.Image, bits: int, negative: bool) -> Image.Image:
    """Scale grey samples to 8 bits, and add alpha if a colour is transparent."""
    samples = np.asarray(band)
    if bits == 32:
        samples = samples.view(np.uint32)  # Pillow takes them for signed ones
    grey = (samples // _STEPS[bits]).clip(0, 255).astype(np.uint8)
    key = band.info.get("transparency")
    if key is None:
        return Image.fromarray(255 - grey if negative else grey)
    return _with_alpha(grey[..., None], samples != key)


def _without_key(band: Image.Image, lower: Image.Image) -> Image.Image:
    """Make pixels transparent whose high and low bytes are those of the transparent colour."""
    high, low = np.asarray(band), np.asarray(lower)
    key = np.array(band.info["transparency"])
    return _with_alpha(high, ((high != key // 256) | (low != key % 256)).any(axis=2))


def _with_alpha(colors: npt.NDArray[Any], visible: npt.NDArray[np.bool_]) -> Image.Image:
    alpha = np.where(visible, 255, 0).astype(np.uint8)
    return Image.fromarray(np.dstack([colors, alpha]))


def _on_white(band: Image.Image, mode: str) -> Image.Image:
    """Convert to the mode; where the band is transparent it becomes white."""
    if not band.has_transparency_data:
        return band.convert(mode)
    if band.mode == "La":  # multiplied by its alpha; Pillow converts it to nothing else
        band = band.convert("LA")
    if mode == "L":
        ground, band = Image.new(mode, band.size, 255), band.convert("LA")
        ground.paste(band.getchannel("L"), mask=band.getchannel("A"))
    else:
        ground, band = Image.new(mode, band.size, "white"), band.convert("RGBA")
        ground.paste(band, mask=band)
    return ground
