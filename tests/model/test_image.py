from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from model import image
from model.image import InvalidImage


def encoded(picture: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format, **options)
    return buffer.getvalue()


def mean_color(data: bytes) -> tuple[int, ...]:
    pixels = image.decode(data, 32)
    assert pixels.shape == (3, 32, 32)
    assert pixels.dtype == torch.uint8
    return tuple(pixels.float().mean(dim=(1, 2)).round().int().tolist())


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF"])
def test_formats(format: str) -> None:
    picture = Image.new("RGB", (60, 40), (200, 100, 50))
    found = mean_color(encoded(picture, format))
    assert np.allclose(found, (200, 100, 50), atol=6)  # lossy formats shift a little


@pytest.mark.parametrize(
    ("picture", "color"),
    [
        (Image.new("L", (9, 9), 77), (77, 77, 77)),
        (Image.new("1", (9, 9), 1), (255, 255, 255)),
        (Image.new("RGBA", (9, 9), (10, 20, 30, 255)), (10, 20, 30)),
        (Image.new("RGBA", (9, 9), (10, 20, 30, 0)), (255, 255, 255)),
        (Image.new("LA", (9, 9), (0, 0)), (255, 255, 255)),
        (Image.new("RGB", (9, 9), (10, 20, 30)).quantize(), (10, 20, 30)),
        (Image.fromarray(np.full((9, 9), 257 * 99, np.uint16)), (99, 99, 99)),
    ],
    ids=["grey", "bilevel", "opaque", "transparent", "grey-alpha", "palette", "16-bit"],
)
def test_modes(picture: Image.Image, color: tuple[int, int, int]) -> None:
    assert mean_color(encoded(picture)) == color


def test_cmyk() -> None:
    white = Image.new("CMYK", (16, 16), (0, 0, 0, 0))
    assert mean_color(encoded(white, "JPEG")) == (255, 255, 255)


def test_transparent_palette_color_becomes_white() -> None:
    picture = Image.new("P", (9, 9), 0)
    picture.putpalette([200, 0, 0] * 256)
    assert mean_color(encoded(picture, "GIF", transparency=0)) == (255, 255, 255)


def test_first_frame_counts() -> None:
    frames = [Image.new("RGB", (9, 9), color) for color in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert mean_color(data) == (255, 0, 0)


def test_phone_picture_of_several_frames() -> None:
    frames = [Image.new("RGB", (32, 32), color) for color in ("white", "black")]
    data = encoded(frames[0], "MPO", save_all=True, append_images=frames[1:])
    assert mean_color(data) == (255, 255, 255)


@pytest.mark.parametrize("size", [(40, 40), (400, 400)])
def test_exif_rotation(size: tuple[int, int]) -> None:
    """Also of a photo large enough to be decoded at a fraction of its size."""
    picture = Image.new("RGB", size, "white")
    picture.paste("black", (0, 0, size[0], size[1] // 2))  # upper half
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise: the top is then on the right
    pixels = image.decode(encoded(picture, "JPEG", exif=exif), 32).float()
    assert pixels[:, :, 20:].mean() < 20
    assert pixels[:, :, :12].mean() > 235


def test_one_pixel_and_extreme_shapes() -> None:
    assert mean_color(encoded(Image.new("RGB", (1, 1), (1, 2, 3)))) == (1, 2, 3)
    assert mean_color(encoded(Image.new("RGB", (3000, 1), (1, 2, 3)))) == (1, 2, 3)


def test_large_jpeg_is_decoded_like_in_full() -> None:
    ramp = np.linspace(0, 255, 1600, dtype=np.uint8)
    picture = Image.fromarray(np.broadcast_to(ramp[:, None, None], (1600, 1600, 3)).copy())
    small = image.decode(encoded(picture, "JPEG", quality=95), 64).float()
    full = image.decode(encoded(picture, "PNG"), 64).float()
    assert (small - full).abs().max() <= 4


def bomb(width: int, height: int) -> bytes:
    """A PNG of few bytes that says it is huge."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


JPEG = encoded(Image.effect_noise((64, 64), 50).convert("RGB"), "JPEG")
PNG = encoded(Image.effect_noise((64, 64), 50))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"hello, I am no image", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
        (JPEG[: len(JPEG) // 2], "damaged"),
        (JPEG[:20], "not an image"),
        (PNG[: len(PNG) // 2], "damaged"),
        (PNG[:60] + bytes(50) + PNG[110:], "damaged"),
        (bomb(30_000, 30_000), "100,000,000 pixels"),
        (bomb(10_001, 10_000), "10001 x 10000 pixels"),
        (encoded(Image.new("F", (9, 9), 0.5), "TIFF"), "floating-point"),
    ],
    ids=[
        "empty", "text", "postscript", "half-jpeg", "jpeg-header", "half-png", "holed-png",
        "bomb", "slightly-too-large", "floats",
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_bad_images(data: bytes, message: str) -> None:
    with pytest.raises(InvalidImage, match=message):
        image.decode(data, 32)


def test_every_kind_of_buffer() -> None:
    for data in (PNG, bytearray(PNG), memoryview(PNG)):
        assert image.decode(data, 8).shape == (3, 8, 8)
