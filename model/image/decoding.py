"""Decoding: an image file becomes an upright picture in sRGB, or the square that encoders read."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image

from model.image import jpeg, tiff
from model.image.colour import conversion
from model.image.formats import name_of
from model.image.header import Data, opened, turn_upright
from model.image.samples import flatten, scale_transparent_color

# To be raised when the pixels of some photo change, so that photos decoded before and after are not
# mixed in one prepared dataset.
DECODING_VERSION = 2


def decode(data: Data, size: int) -> torch.Tensor:
    """Decode a photo, turn it upright and squash it to a square.

    Parameters
    ----------
    data
        The content of an image file in one of the formats `accepted`; the first frame counts.
    size
        Side of the square, pixels.

    Returns
    -------
    RGB, uint8, shape = (3, size, size)

    Raises
    ------
    InvalidImage
        The bytes are empty, no image, damaged, or hold more than `MAX_PIXELS` pixels;
        `UnsupportedFormat` if they are recognised as something else.
    """
    # Half as many pixels again leave the resampling enough to average over: the result for a
    # camera's photo is 0.4 of 255 away from that of decoding all pixels.
    squashed = _decoded(data, min_side=size * 3 // 2, square=(size, size))
    # Numpy, because torch would start threads of its own for every thread that decodes.
    return torch.from_numpy(np.ascontiguousarray(np.asarray(squashed).transpose(2, 0, 1)))


def open_rgb(data: Data, min_side: int) -> Image.Image:
    """Decode a photo and turn it upright, in its own shape and in sRGB.

    Parameters
    ----------
    min_side
        Pixels a side that are wanted. A photo is made smaller by a whole factor where it still has
        that many (a JPEG) or twice as many (other formats); a JPEG while it is decoded, for a
        fraction of the work.

    Raises
    ------
    InvalidImage
        See `decode`.
    """
    return _decoded(data, min_side, None)


def _decoded(data: Data, min_side: int, square: tuple[int, int] | None) -> Image.Image:
    """Decode to sRGB, upright; colours are converted after resizing, which costs a tenth."""
    data = bytes(data)
    with opened(data) as image:
        to_srgb = conversion(image, data)
        loaded, depth = _load(image, data, min_side)
        turn = turn_upright(image)
        shrink = 1 if turn else max(1, min(loaded.size) // (2 * min_side))
        # The last column and row may stand for fewer pixels.
        box = 0, 0, loaded.width / shrink, loaded.height / shrink
        picture = flatten(loaded, "RGB" if to_srgb is None else to_srgb.mode, shrink, **depth)
    del loaded, image  # turning makes another copy
    if turn is not None:
        picture = picture.transpose(turn)
        box = 0, 0, *picture.size
    if square is not None:
        picture = picture.resize(square, Image.Resampling.BILINEAR, box)
    return picture if to_srgb is None else to_srgb.apply(picture)


def _load(image: Image.Image, data: bytes, min_side: int) -> tuple[Image.Image, dict[str, Any]]:
    """Load the pixels; return the image and what `flatten` must know of their depth."""
    if image.format == "TIFF":
        depth = {"bits": tiff.depth(image), "negative": tiff.is_negative(image)}
        planes = tiff.load_planes(image, data)
        if planes is None:
            image.load()
        return planes or image, depth
    lower = scale_transparent_color(image, data)
    if lower is not None:
        lower.load()
    pixels = image.width * image.height
    image.draft("RGB", (min_side, min_side))
    try:
        image.load()
    except OSError:
        cut_off = name_of(image) == "JPEG" and not jpeg.has_end(data)
        if not cut_off or pixels > jpeg.MAX_PIXELS_WITHOUT_END:
            raise
        return jpeg.load_without_end(data, min_side), {}
    return image, {"lower": lower}
