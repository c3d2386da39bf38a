"""Bytes of a photo -> RGB -> tensor. The only preprocessing: training and serving share it."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

# Raster formats whose decoders are memory-safe enough to meet strangers' bytes; never EPS, PSD, ...
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF")
# Known from the header, before memory is spent: 100 million pixels are 300 MB of RGB.
MAX_PIXELS = 100_000_000


class InvalidImage(ValueError):
    """The bytes are no photo that can be captioned; the message says why."""


def decode(data: bytes | bytearray | memoryview, size: int) -> torch.Tensor:
    """Decode a photo, turn it upright and squash it to a square.

    Parameters
    ----------
    data
        The content of an image file in one of `FORMATS`; of several frames, the first counts.
    size
        Side of the square, pixels.

    Returns
    -------
    RGB, uint8, shape = (3, size, size)

    Raises
    ------
    InvalidImage
        The bytes are empty, no image, damaged, or hold more than `MAX_PIXELS` pixels.
    """
    # Half as much again leaves the resampling enough to average over: of a camera's photo it is
    # 0.4 of 255 away from decoding all pixels.
    rgb = open_rgb(data, least=size * 3 // 2)
    squashed = rgb.resize((size, size), Image.Resampling.BILINEAR)
    # By numpy: torch would start threads of its own for every thread that decodes.
    return torch.from_numpy(np.ascontiguousarray(np.asarray(squashed).transpose(2, 0, 1)))


def open_rgb(data: bytes | bytearray | memoryview, least: int) -> Image.Image:
    """Decode a photo and turn it upright, in its own shape.

    Parameters
    ----------
    least
        Pixels a side that are wanted: a JPEG decodes at 1/2, 1/4 or 1/8 of its size, where that
        still has them, for a fraction of the work.

    Raises
    ------
    InvalidImage
        As `decode`.
    """
    if not len(data):
        raise InvalidImage("the image is empty (0 bytes)")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise InvalidImage(
                    f"the image has {width} x {height} pixels; at most {MAX_PIXELS:,} are accepted"
                )
            image.draft("RGB", (least, least))
            return _to_rgb(ImageOps.exif_transpose(image))
    except (InvalidImage, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise InvalidImage(f"not an image; accepted: {', '.join(FORMATS)}") from error
    except Image.DecompressionBombError as error:
        raise InvalidImage(f"the image has over {MAX_PIXELS:,} pixels") from error
    except Exception as error:  # Pillow's decoders raise nearly every type there is
        raise InvalidImage(f"the image is damaged: {error}") from error


def _to_rgb(image: Image.Image) -> Image.Image:
    """Any mode to RGB: 16 bits scaled instead of clipped, transparency laid on white."""
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image).clip(0, 65535) / 257).astype(np.uint8))
    elif image.mode == "F":
        raise InvalidImage("images of floating-point numbers are not supported; save it as 8 bits")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.new("RGB", rgba.size, "white")
        image.paste(rgba, mask=rgba.getchannel("A"))
    return image.convert("RGB")
