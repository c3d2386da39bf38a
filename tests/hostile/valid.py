"""Valid photos of every format and mode that is read."""

from __future__ import annotations

import struct
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.image import accepted
from tests.hostile.building import SIDE, saved, tiff


@cache
def valid_photos() -> dict[str, bytes]:
    """Return a photo of every format and mode that is read, by name."""
    noise = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE + 9, 4), dtype=np.uint8)
    rgba = Image.fromarray(noise)
    rgb = rgba.convert("RGB")
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "made by a test"

    def several(format: str, **options: Any) -> bytes:
        frames = [rgb.rotate(90 * i) for i in range(1, 4)]
        return saved(rgb.copy(), format, save_all=True, append_images=frames, **options)

    sixteen = Image.fromarray(noise[..., 0].astype(np.uint16) * 257)
    found = {
        "jpeg": saved(rgb, "JPEG", exif=exif),
        "jpeg progressive": saved(rgb, "JPEG", progressive=True),
        "jpeg grey": saved(rgb.convert("L"), "JPEG"),
        "jpeg cmyk": saved(rgb.convert("CMYK"), "JPEG"),
        "jpeg icc": saved(rgb, "JPEG", icc_profile=bytes(range(256)) * 10),
        "mpo": several("MPO"),
        "png": saved(rgb, "PNG", exif=exif),
        "png alpha": saved(rgba, "PNG"),
        "png palette": saved(rgb.quantize(16), "PNG", transparency=3),
        "png two colours": saved(rgb.convert("1"), "PNG"),
        "png 16 bits": saved(sixteen, "PNG"),
        "png animated": several("PNG"),
        "webp": saved(rgb, "WEBP", exif=exif),
        "webp lossless": saved(rgba, "WEBP", lossless=True),
        "webp animated": several("WEBP"),
        "gif": saved(rgb, "GIF"),
        "gif animated": several("GIF", transparency=0),
        "bmp": saved(rgb, "BMP"),
        "bmp palette": saved(rgb.quantize(16), "BMP"),
        "avif": saved(rgb, "AVIF", exif=exif),
        "avif alpha": saved(rgba, "AVIF"),
        "avif animated": several("AVIF"),
        "tiff": saved(rgb, "TIFF"),
        "tiff pages": several("TIFF"),
        "tiff cmyk": saved(rgb.convert("CMYK"), "TIFF", compression="tiff_lzw"),
        "tiff 16 bits": saved(sixteen, "TIFF"),
        "tiff planar 16 bits": _planar(noise[..., :3]),
        "tiff lab": saved(Image.new("LAB", (9, 9)), "TIFF"),
        "tiff ycbcr": saved(rgb.convert("YCbCr"), "TIFF"),
    }
    if "HEIC" in accepted():
        import pillow_heif

        pillow_heif.register_heif_opener()
        found["heic"] = saved(rgb, "HEIF", exif=exif.tobytes())
        found["heic of several"] = several("HEIF")
    for compression in ("jpeg", "tiff_deflate", "tiff_adobe_deflate", "packbits", "group4"):
        picture = rgb.convert("1") if compression == "group4" else rgb
        found[f"tiff {compression}"] = saved(picture, "TIFF", compression=compression)
    return found


def _planar(colors: NDArray[np.uint8]) -> bytes:
    """Return a TIFF whose three channels of 16 bits lie one after another."""
    size = colors[..., 0].size * 2
    entries = [
        (256, 4, 1, colors.shape[1]), (257, 4, 1, colors.shape[0]), (258, 3, 3, 420),
        (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 3, 400), (277, 3, 1, 3),
        (278, 4, 1, colors.shape[0]), (279, 4, 3, 430), (284, 3, 1, 2),
    ]  # fmt: skip
    data = bytearray(tiff(entries, pixels=np.moveaxis(colors, 2, 0).astype("<u2").tobytes()))
    data[400:412] = struct.pack("<3I", *(512 + i * size for i in range(3)))
    data[420:426] = struct.pack("<3H", 16, 16, 16)
    data[430:442] = struct.pack("<3I", size, size, size)
    return bytes(data)
