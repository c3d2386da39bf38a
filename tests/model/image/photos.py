"""Photos for the tests of decoding, and the mean colour that is decoded from one."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from model import image
from tests.model.image.pictures import saved
from tests.model.image.png_files import chunk


def mean_color(data: bytes) -> tuple[int, ...]:
    pixels = image.decode(data, 32)
    assert pixels.shape == (3, 32, 32)
    assert pixels.dtype == torch.uint8
    return tuple(pixels.float().mean(dim=(1, 2)).round().int().tolist())


def photo(width: int, height: int) -> Image.Image:
    """Return smooth colours and noise, which show a shift or a missing part."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(x / width * (5 + i) + y / height * (9 - i)) * 100 + 127 for i in range(3)]
    noise = np.random.default_rng(0).normal(0, 8, (height, width, 3))
    return Image.fromarray((np.dstack(waves) + noise).clip(0, 255).astype(np.uint8))


def bomb(width: int, height: int) -> bytes:
    """Return a PNG of few bytes whose header says that it is huge."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def vp8l(width: int, height: int) -> bytes:
    """Return a WebP of few bytes whose header says that it is huge."""
    body = b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14) + bytes(9)
    return b"RIFF" + struct.pack("<I", len(body) + 12) + b"WEBPVP8L" + struct.pack("<I", 14) + body


def heic(picture: Image.Image, **options: Any) -> bytes:
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    return saved(picture, "HEIF", **options)


JPEG = saved(Image.effect_noise((64, 64), 50).convert("RGB"), "JPEG")
PNG = saved(Image.effect_noise((64, 64), 50))
