"""The time that decoding a photo will take, estimated from its header before it is decoded.

The figures are upper bounds; ``captioner bench decoding`` compares them with what flat, noisy,
transparent and progressive photos of every format take.
"""

from __future__ import annotations

from typing import NamedTuple

from model.image.header import read_header

# Seconds of one core of an AMD EPYC (Zen 4) for a million pixels, and for a million bytes of file.
# A photo of one colour has few bytes and costs its pixels alone; noise costs its bytes besides.
COSTS = {
    "JPEG": (0.010, 0.03),
    "PNG": (0.050, 0.014),
    "WEBP": (0.030, 0.06),
    "GIF": (0.015, 0.02),
    "TIFF": (0.040, 0.006),
    "BMP": (0.010, 0.005),
    "AVIF": (0.045, 0.1),
    "HEIC": (0.030, 0.12),
}
SCAN_COST = 0.0015  # seconds for a million pixels, for each scan of a progressive JPEG


class DecodingCost(NamedTuple):
    """The cost of decoding one photo, or several together."""

    pixels: int
    seconds: float  # of one core


def estimate(photo: bytes) -> DecodingCost:
    """Estimate the cost of decoding a photo.

    Raises
    ------
    model.InvalidImage
        The header cannot be read, or the photo exceeds the limits of `model.image`.
    """
    header = read_header(photo)
    per_megapixel, per_megabyte = COSTS[header.format]
    if header.format == "JPEG":
        per_megapixel += SCAN_COST * header.scans
    seconds = (per_megapixel * header.pixels + per_megabyte * len(photo)) / 1e6
    return DecodingCost(header.pixels, seconds)
