from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from captioner.paths import ROOT
from model import image, samples
from model.image import InvalidImage, UnsupportedFormat


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


def photo(width: int, height: int) -> Image.Image:
    """Smooth colours and noise, in which a shift or a missing part is seen."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(x / width * (5 + i) + y / height * (9 - i)) * 100 + 127 for i in range(3)]
    noise = np.random.default_rng(0).normal(0, 8, (height, width, 3))
    return Image.fromarray((np.dstack(waves) + noise).clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "I;16"])
@pytest.mark.parametrize("size", [(1000, 800), (907, 1301)])
def test_large_photos_are_made_smaller_as_exactly(mode: str, size: tuple[int, int]) -> None:
    picture = photo(*size)
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)
    elif mode == "RGBA":
        picture.putalpha(Image.linear_gradient("L").resize(size))
    else:
        picture = picture.convert(mode)
    found = image.decode(encoded(picture), 40).float()
    whole = samples.opaque(picture, "RGB").resize((40, 40), Image.Resampling.BILINEAR)
    wanted = torch.from_numpy(np.array(whole)).permute(2, 0, 1)
    assert (found - wanted).abs().mean() < 0.5
    assert min(image.open_rgb(encoded(picture), 60).size) < min(size) // 2


def test_a_large_photo_that_is_turned_is_not_shifted() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    found = image.decode(encoded(photo(907, 1301), exif=exif), 40)
    wanted = image.decode(encoded(photo(907, 1301).transpose(Image.Transpose.ROTATE_270)), 40)
    assert (found.float() - wanted.float()).abs().mean() < 0.5


JPEGS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "progressive": {"progressive": True},
    "with restarts": {"restart_marker_blocks": 7},
    "grey": {},
    "of inks": {},
}


@pytest.mark.parametrize("kind", JPEGS)
@pytest.mark.parametrize("size", [(90, 70), (1600, 1200)])
def test_a_jpeg_that_lacks_only_its_end_is_a_photo(kind: str, size: tuple[int, int]) -> None:
    mode = {"grey": "L", "of inks": "CMYK"}.get(kind, "RGB")
    data = encoded(photo(*size).convert(mode), "JPEG", quality=90, **JPEGS[kind])
    whole = image.decode(data, 40)
    assert data.endswith(b"\xff\xd9")
    for lacking in (1, 2):
        assert (image.decode(data[:-lacking], 40) == whole).all()


@pytest.mark.parametrize("kind", JPEGS)
def test_a_jpeg_that_lacks_more_is_damaged(kind: str) -> None:
    mode = {"grey": "L", "of inks": "CMYK"}.get(kind, "RGB")
    data = encoded(photo(900, 700).convert(mode), "JPEG", quality=90, **JPEGS[kind])
    restart = data.rfind(b"\xff\xd3")  # where a part ends, if it has such
    for lacking in (20, 100, 1000, len(data) // 3, len(data) // 2, len(data) - max(restart, 9000)):
        with pytest.raises(InvalidImage, match="damaged"):
            image.decode(data[:-lacking], 40)


def test_a_jpeg_of_many_pixels_without_its_end_is_not_decoded_over_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = encoded(photo(90, 70), "JPEG")[:-2]
    assert image.decode(data, 40).shape == (3, 40, 40)
    monkeypatch.setattr(image, "MAX_ENDLESS", 90 * 70 - 1)
    with pytest.raises(InvalidImage, match="damaged"):
        image.decode(data, 40)


def bomb(width: int, height: int) -> bytes:
    """A PNG of few bytes that says it is huge."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def vp8l(width: int, height: int) -> bytes:
    """A WebP of few bytes that says it is huge."""
    body = b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14) + bytes(9)
    return b"RIFF" + struct.pack("<I", len(body) + 12) + b"WEBPVP8L" + struct.pack("<I", 14) + body


JPEG = encoded(Image.effect_noise((64, 64), 50).convert("RGB"), "JPEG")
PNG = encoded(Image.effect_noise((64, 64), 50))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"hello, I am no image", "not an image"),
        (JPEG[: len(JPEG) // 2], "damaged"),
        (JPEG[:20], "not an image"),
        (PNG[: len(PNG) // 2], "damaged"),
        (PNG[:60] + bytes(50) + PNG[110:], "damaged"),
        (bomb(30_000, 30_000), "100,000,000 pixels"),
        (bomb(10_001, 10_000), "10001 x 10000 pixels"),
        (bomb(50_000_000, 2), "50000000 x 2 pixels; a side may have 1,000,000"),
        (vp8l(8000, 8000), "8000 x 8000 pixels; at most 50,000,000"),
        (encoded(Image.new("F", (9, 9), 0.5), "TIFF"), "floating-point"),
    ],
    ids=[
        "empty", "text", "half-jpeg", "jpeg-header", "half-png", "holed-png",
        "bomb", "slightly-too-large", "line", "webp", "floats",
    ],
)  # fmt: skip
def test_bad_images(data: bytes, message: str) -> None:
    with pytest.raises(InvalidImage, match=message):
        image.decode(data, 32)


def test_every_kind_of_buffer() -> None:
    for data in (PNG, bytearray(PNG), memoryview(PNG)):
        assert image.decode(data, 8).shape == (3, 8, 8)


# What a file of each kind starts with.
OTHERS = {
    "PDF": b"%PDF-1.7\n",
    "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "Photoshop": b"8BPS\0\1",
    "SVG": b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- drawn -->\n<svg xmlns="http://www.w3.org/">',
    "icon": b"\0\0\1\0\1\0\x10\x10",
    "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n",
    "JPEG XL": b"\xff\x0a\xfa\x1f",
    "raw file": b"\0\0\0\x18ftypcrx \0\0\0\1crx isom",
    "video": b"\0\0\0\x18ftypmp42\0\0\0\0isommp42",
    "ZIP": b"PK\3\4\x14\0",
}


@pytest.mark.parametrize("kind", OTHERS)
def test_other_kinds_of_files_are_named(kind: str) -> None:
    with pytest.raises(UnsupportedFormat, match=f"this is an? .*{kind}.*; accepted: JPEG, PNG"):
        image.decode(OTHERS[kind] + bytes(100), 32)


@pytest.mark.parametrize("data", [b"", b"hello", JPEG[:20], b"<html><svg></svg>", b"\0\0\1"])
def test_what_is_nothing_is_not_called_unsupported(data: bytes) -> None:
    with pytest.raises(InvalidImage) as caught:
        image.decode(data, 32)
    assert type(caught.value) is InvalidImage


def heic(picture: Image.Image, **options: Any) -> bytes:
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    return encoded(picture, "HEIF", **options)


def test_heic() -> None:
    data = heic(Image.new("RGB", (64, 48), (200, 100, 50)))
    assert np.allclose(mean_color(data), (200, 100, 50), atol=6)
    assert image.describe(data) == (64, 48, "HEIC")
    assert "HEIC" in image.accepted()
    with pytest.raises(InvalidImage, match="damaged"):
        image.decode(data[: len(data) // 2], 32)


def test_heic_rotation() -> None:
    picture = Image.new("RGB", (80, 40), "white")
    picture.paste("black", (0, 0, 80, 20))  # upper half
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise: the top is then on the right
    data = heic(picture, exif=exif.tobytes())
    pixels = image.decode(data, 32).float()
    assert pixels[:, :, 20:].mean() < 20
    assert pixels[:, :, :12].mean() > 235
    assert image.describe(data) == (40, 80, "HEIC")


def test_a_heic_is_read_from_a_thumbnail_that_is_large_enough(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    picture = photo(1600, 1200)
    data = heic(picture, thumbnails=[160, 640])
    read, opaque = [], image.opaque

    def spied(loaded: Image.Image, *rest: Any, **more: Any) -> Image.Image:
        read.append(loaded.size)
        return opaque(loaded, *rest, **more)

    monkeypatch.setattr(image, "opaque", spied)
    found = image.decode(data, 100).float()
    assert image.open_rgb(data, 1000).width > 1000
    assert read == [(640, 480), (1600, 1200)]
    assert (found - image.decode(encoded(picture), 100).float()).abs().mean() < 2
    assert image.describe(data) == (1600, 1200, "HEIC")


def test_heic_without_its_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    data = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)
    with pytest.raises(UnsupportedFormat, match=r"HEIC.*pip install .*heic.*; accepted: [^H]*$"):
        image.decode(data, 32)
    assert mean_color(encoded(Image.new("RGB", (9, 9), (1, 2, 3)))) == (1, 2, 3)


def test_avif_needs_no_decoder_of_heic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    data = encoded(Image.new("RGB", (64, 48), (200, 100, 50)), "AVIF")
    size = int.from_bytes(data[:4], "big")
    any_codec = data[:8] + b"mif1" + data[12:]
    assert b"avif" in any_codec[16:size]
    for each in (data, any_codec):
        assert image.describe(each) == (64, 48, "AVIF")


def test_decoder_of_heic_is_loaded_late() -> None:
    code = (
        "import sys, io, model.image as i; from PIL import Image; b = io.BytesIO();"
        " Image.new('RGB', (9, 9)).save(b, 'AVIF'); i.decode(b.getvalue(), 9); i.accepted();"
        " sys.exit('pillow_heif' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_described_as_it_is_after_turning(format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.new("RGB", (60, 40)), format, exif=exif)
    info = image.describe(data)
    assert info.format == format
    assert (
        info[:2] == image.open_rgb(data, 1000).size == ((40, 60) if orientation > 4 else (60, 40))
    )


def test_describing_decodes_no_png(monkeypatch: pytest.MonkeyPatch) -> None:
    """But for one with EXIF, which may come after its pixels."""
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = encoded(Image.new("RGB", (60, 40)), "PNG", exif=exif)
    start, end = turned.index(b"eXIf") - 4, turned.index(b"IDAT") - 4
    behind = turned[:start] + turned[end:-12] + turned[start:end] + turned[-12:]
    for data in (turned, behind):
        assert image.describe(data) == (40, 60, "PNG")
        assert image.open_rgb(data, 1).size == (40, 60)

    plain = encoded(Image.new("RGB", (60, 40)), "PNG")
    loaded: list[object] = []
    monkeypatch.setattr(PngImageFile, "load", lambda photo: loaded.append(photo))
    assert image.describe(plain) == (60, 40, "PNG")
    assert not loaded


def test_describing_reads_the_header_only() -> None:
    assert image.describe(PNG[: len(PNG) // 2]) == (64, 64, "PNG")
    assert image.describe(encoded(Image.new("RGB", (60, 40)), "MPO")).format == "JPEG"
    for data in (b"", b"hello", bomb(30_000, 30_000), OTHERS["PDF"]):
        with pytest.raises(InvalidImage):
            image.describe(data)


@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"\xff"])
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_a_photo_whose_exif_is_damaged_is_a_photo(exif: bytes, format: str) -> None:
    picture = Image.new("RGB", (60, 40), (200, 100, 50))
    data = encoded(picture, format, exif=exif)
    assert np.allclose(mean_color(data), (200, 100, 50), atol=6)


def test_a_jpeg_of_too_many_scans() -> None:
    """Each takes a walk over all pixels: a file of few kilobytes would take hours."""
    picture = Image.new("RGB", (4000, 4000))
    data = encoded(picture, "JPEG", progressive=True)
    scan = data[data.rindex(b"\xff\xda") : -2]
    assert image.decode(data, 32).shape == (3, 32, 32)
    with pytest.raises(InvalidImage, match=r"\d+ scans, too many"):
        image.decode(data[:-2] + scan * 300 + data[-2:], 32)


@pytest.mark.parametrize(
    ("mode", "color", "seen"),
    [
        ("RGBA", (10, 20, 30, 255), (10, 20, 30)),
        ("RGBA", (10, 20, 30, 0), (255, 255, 255)),
        ("LA", (50, 255), (50, 50, 50)),
        ("I;16", 257 * 99, (99, 99, 99)),
        ("P", 0, (0, 0, 0)),
    ],
)
def test_converted_in_bands(
    mode: str, color: Any, seen: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "BAND", 1000)
    data = encoded(Image.new(mode, (90, 70), color))
    pixels = image.decode(data, 64)
    assert (pixels == torch.tensor(seen)[:, None, None]).all()
