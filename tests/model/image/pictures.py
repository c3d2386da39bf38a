"""One picture of known pixels, and its samples at any depth."""

from __future__ import annotations

import io
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

WIDTH, HEIGHT = 45, 34  # neither a multiple of a JPEG's blocks nor of a TIFF's tiles
Array = npt.NDArray[Any]


class Encoded(NamedTuple):
    """A file and the pixels that it must show."""

    data: bytes
    pixels: Array  # RGB, uint8, shape = (HEIGHT, WIDTH, 3)
    error: float  # the largest mean difference from them that is due to the encoding itself


def scene() -> Array:
    """Return a picture of smooth colours, dark and light, with a white lower right quarter."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    red, green = x * 255 / (WIDTH - 1), y * 255 / (HEIGHT - 1)
    blue = 127.5 + 127.5 * np.sin(x / 7 + y / 5)
    picture = np.stack([red, green, blue], axis=2).round().astype(np.uint8)
    picture[HEIGHT // 2 :, WIDTH // 2 :] = 255
    return picture


RGB = scene()
GREY = RGB[..., :1].copy()
WHITE = (slice(HEIGHT // 2, None), slice(WIDTH // 2, None))  # the part of `scene` that is white


def shown(samples: Array, bits: int) -> Array:
    """Return samples of that many bits as RGB of 8 bits."""
    scaled = (samples.astype(float) * 255 / (2**bits - 1)).round().astype(np.uint8)
    return np.broadcast_to(scaled, (HEIGHT, WIDTH, 3)).copy()


def deep(pixels: Array, bits: int) -> Array:
    """Return samples of 8 bits with that many bits, the lower ones not all zero."""
    exact = pixels.astype(float) / 255 * (2**bits - 1)
    if bits <= 8:
        return exact.round().astype(np.uint64)
    dither = np.random.default_rng(0).uniform(-0.3, 0.3, pixels.shape) * 2 ** (bits - 8)
    return (exact + dither).round().clip(0, 2**bits - 1).astype(np.uint64)


def packed(values: Array, bits: int, order: str) -> bytes:
    """Return a row of samples as bytes; zeros fill its last byte."""
    if bits < 8:
        each = (values[:, None] >> np.arange(bits - 1, -1, -1, dtype=np.uint64)) & np.uint64(1)
        return np.packbits(each.astype(np.uint8).ravel()).tobytes()
    if bits == 12:
        each = (values[:, None] >> np.arange(11, -1, -1, dtype=np.uint64)) & np.uint64(1)
        return np.packbits(each.astype(np.uint8).ravel()).tobytes()
    return values.astype(f"{order}u{bits // 8}").tobytes()


def saved(picture: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    """Return the bytes that Pillow writes."""
    buffer = io.BytesIO()
    picture.save(buffer, format, **options)
    return buffer.getvalue()
