"""Limits of what is decoded, checked on a photo's header before memory is spent on its pixels."""

from __future__ import annotations

from typing import Any

from PIL import ExifTags, Image

from model.image import jpeg, tiff
from model.image.errors import InvalidImage, UnsupportedFormat
from model.image.formats import name_of

# 100 million pixels are 400 MB in Pillow. Newer formats may have half as many, because their
# decoders hold a photo several times over.
MAX_PIXELS = 100_000_000
MAX_PIXELS_OF = {"WEBP": MAX_PIXELS // 2, "AVIF": MAX_PIXELS // 2, "HEIC": MAX_PIXELS // 2}
# Resampling keeps 16 bytes of weights for each pixel of a side; no camera comes near this limit.
MAX_SIDE = 1_000_000
# A progressive JPEG visits its pixels in each of its scans: ten are usual, thousands an attack.
MAX_VISITS = 32 * MAX_PIXELS
MAX_STRIP = 4 * MAX_PIXELS  # bytes; libtiff unpacks a strip or tile of a TIFF as a whole


def check_limits(image: Image.Image, data: bytes) -> None:
    """Check an opened image that is not loaded.

    Raises
    ------
    InvalidImage
        It has too many pixels, scans or bytes in a strip, or floating-point numbers;
        `UnsupportedFormat` if it is a TIFF of a kind that Pillow reads wrong.
    """
    _check_size(image)
    if image.mode == "F":
        raise InvalidImage("images of floating-point numbers are not supported; save it as 8 bits")
    if image.format == "TIFF":
        _check_tiff(image)
    scans = jpeg.count_scans(data) if name_of(image) == "JPEG" else 1
    if scans * image.width * image.height > MAX_VISITS:
        raise InvalidImage(f"the image has {scans} scans, too many for its size")


def _check_size(image: Image.Image) -> None:
    width, height = image.size
    max_pixels = MAX_PIXELS_OF.get(name_of(image), MAX_PIXELS)
    if width * height > max_pixels:
        raise InvalidImage(
            f"the image has {width} x {height} pixels; at most {max_pixels:,} are accepted"
        )
    if max(width, height) > MAX_SIDE:
        raise InvalidImage(f"the image has {width} x {height} pixels; a side may have {MAX_SIDE:,}")


def _check_tiff(image: Image.Image) -> None:
    variant = tiff.unsupported(image)
    if variant is not None:
        raise UnsupportedFormat(f"this is a TIFF {variant}, which is not read; {tiff.ADVICE}")
    if _strip_bytes(image) > MAX_STRIP:
        raise InvalidImage(f"the image has strips or tiles of over {MAX_STRIP:,} bytes")


def _strip_bytes(image: Image.Image) -> int:
    """Return the bytes of a TIFF's strip or tile, unpacked; a small image may claim a huge one."""
    tags: Any = image.tag_v2  # type: ignore[attr-defined]
    height = int(tags[ExifTags.Base.ImageLength])
    width = int(tags.get(ExifTags.Base.TileWidth, tags[ExifTags.Base.ImageWidth]))
    rows = int(tags.get(ExifTags.Base.TileLength, 0)) or min(
        int(tags.get(ExifTags.Base.RowsPerStrip, height)), height
    )
    samples = int(tags.get(ExifTags.Base.SamplesPerPixel, 1))
    return width * rows * samples * max(map(int, tags.get(ExifTags.Base.BitsPerSample, (1,)))) // 8
