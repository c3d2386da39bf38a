from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from model import image
from model.image import samples
from tests.model.image.photos import PNG, mean_color, photo
from tests.model.image.pictures import saved


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF"])
def test_formats(format: str) -> None:
    picture = Image.new("RGB", (60, 40), (200, 100, 50))
    found = mean_color(saved(picture, format))
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
    assert mean_color(saved(picture)) == color


def test_cmyk() -> None:
    white = Image.new("CMYK", (16, 16), (0, 0, 0, 0))
    assert mean_color(saved(white, "JPEG")) == (255, 255, 255)


def test_transparent_palette_color_becomes_white() -> None:
    picture = Image.new("P", (9, 9), 0)
    picture.putpalette([200, 0, 0] * 256)
    assert mean_color(saved(picture, "GIF", transparency=0)) == (255, 255, 255)


def test_first_frame_counts() -> None:
    frames = [Image.new("RGB", (9, 9), color) for color in ("red", "blue")]
    data = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert mean_color(data) == (255, 0, 0)


def test_phone_picture_of_several_frames() -> None:
    frames = [Image.new("RGB", (32, 32), color) for color in ("white", "black")]
    data = saved(frames[0], "MPO", save_all=True, append_images=frames[1:])
    assert mean_color(data) == (255, 255, 255)


@pytest.mark.parametrize("size", [(40, 40), (400, 400)])
def test_exif_rotation(size: tuple[int, int]) -> None:
    """The larger photo is large enough to be decoded at a fraction of its size."""
    picture = Image.new("RGB", size, "white")
    picture.paste("black", (0, 0, size[0], size[1] // 2))  # upper half
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise: the top is then on the right
    pixels = image.decode(saved(picture, "JPEG", exif=exif), 32).float()
    assert pixels[:, :, 20:].mean() < 20
    assert pixels[:, :, :12].mean() > 235


def test_one_pixel_and_extreme_shapes() -> None:
    assert mean_color(saved(Image.new("RGB", (1, 1), (1, 2, 3)))) == (1, 2, 3)
    assert mean_color(saved(Image.new("RGB", (3000, 1), (1, 2, 3)))) == (1, 2, 3)


def test_large_jpeg_is_decoded_like_in_full() -> None:
    ramp = np.linspace(0, 255, 1600, dtype=np.uint8)
    picture = Image.fromarray(np.broadcast_to(ramp[:, None, None], (1600, 1600, 3)).copy())
    small = image.decode(saved(picture, "JPEG", quality=95), 64).float()
    full = image.decode(saved(picture, "PNG"), 64).float()
    assert (small - full).abs().max() <= 4


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "I;16"])
@pytest.mark.parametrize("size", [(1000, 800), (907, 1301)])
def test_large_photos_are_reduced_exactly(mode: str, size: tuple[int, int]) -> None:
    picture = photo(*size)
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)
    elif mode == "RGBA":
        picture.putalpha(Image.linear_gradient("L").resize(size))
    else:
        picture = picture.convert(mode)
    found = image.decode(saved(picture), 40).float()
    whole = samples.flatten(picture, "RGB").resize((40, 40), Image.Resampling.BILINEAR)
    wanted = torch.from_numpy(np.array(whole)).permute(2, 0, 1)
    assert (found - wanted).abs().mean() < 0.5
    assert min(image.open_rgb(saved(picture), 60).size) < min(size) // 2


def test_a_large_photo_that_is_turned_is_not_shifted() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    found = image.decode(saved(photo(907, 1301), exif=exif), 40)
    wanted = image.decode(saved(photo(907, 1301).transpose(Image.Transpose.ROTATE_270)), 40)
    assert (found.float() - wanted.float()).abs().mean() < 0.5


def test_every_kind_of_buffer() -> None:
    for data in (PNG, bytearray(PNG), memoryview(PNG)):
        assert image.decode(data, 8).shape == (3, 8, 8)


@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"\xff"])
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_a_photo_whose_exif_is_damaged_is_a_photo(exif: bytes, format: str) -> None:
    picture = Image.new("RGB", (60, 40), (200, 100, 50))
    data = saved(picture, format, exif=exif)
    assert np.allclose(mean_color(data), (200, 100, 50), atol=6)


@pytest.mark.parametrize(
    ("mode", "color", "shown"),
    [
        ("RGBA", (10, 20, 30, 255), (10, 20, 30)),
        ("RGBA", (10, 20, 30, 0), (255, 255, 255)),
        ("LA", (50, 255), (50, 50, 50)),
        ("I;16", 257 * 99, (99, 99, 99)),
        ("P", 0, (0, 0, 0)),
    ],
)
def test_converted_in_bands(
    mode: str, color: Any, shown: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "BAND", 1000)
    data = saved(Image.new(mode, (90, 70), color))
    pixels = image.decode(data, 64)
    assert (pixels == torch.tensor(shown)[:, None, None]).all()
