"""How long a photo takes to decode, estimated from its header before any of it is decoded.

The figures are upper bounds; ``captioner bench decoding`` compares them with what flat, noisy,
transparent and progressive photos of every format take.
"""

from __future__ import annotations

from typing import NamedTuple

from model import image

# Seconds of one core of an AMD EPYC (Zen 4): for a million pixels, and for a million bytes of file.
# A flat photo has next to no bytes and costs its pixels alone, noise costs its bytes besides.
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
SCAN_COST = 0.0015  # for a million pixels, of each scan of a progressive JPEG


class DecodingCost(NamedTuple):
    """The cost of decoding one photo, or several together."""

    pixels: int
    seconds: float  # of one core


def estimate(photo: bytes) -> DecodingCost:
    """Estimate what decoding a photo costs.

    Raises
    ------
    model.InvalidImage
        Its header is none, or beyond the limits of `model.image`.
    """
    header = image.read_header(photo)
    a_megapixel, a_megabyte = COSTS[header.format]
    if header.format == "JPEG":
        a_megapixel += SCAN_COST * header.scans
    seconds = (a_megapixel * header.pixels + a_megabyte * len(photo)) / 1e6
    return DecodingCost(header.pixels, seconds)
