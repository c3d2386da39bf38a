"""Colour spaces and their ICC profiles, and the picture in the numbers of each."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from model.image.profiles import matrix_profile
from tests.model.image.pictures import RGB, Array, saved

# CIE x and y of red, green and blue, all with the white of daylight, D65; and the curve.
SPACES: dict[str, tuple[tuple[float, ...], float]] = {
    "Display P3": ((0.680, 0.320, 0.265, 0.690, 0.150, 0.060), 0),
    "Adobe RGB": ((0.64, 0.33, 0.21, 0.71, 0.15, 0.06), 2.19921875),
    "ProPhoto": ((0.7347, 0.2653, 0.1596, 0.8404, 0.0366, 0.0001), 1.8),
    "linear": ((0.64, 0.33, 0.30, 0.60, 0.15, 0.06), 1),
}
SRGB = SPACES["linear"][0]
WHITE = (0.3127, 0.3290)


def decoded(values: Array, exponent: float) -> Array:
    """Convert numbers of 0..1 to amounts of light; exponent 0 stands for sRGB's curve."""
    if exponent:
        return values**exponent
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def encoded(light: Array, exponent: float) -> Array:
    light = light.clip(0, 1)
    if exponent:
        return light ** (1 / exponent)
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def to_xyz(primaries: tuple[float, ...]) -> Array:
    columns = [np.array([x / y, 1, (1 - x - y) / y]) for x, y in
               zip(primaries[::2], primaries[1::2], strict=True)]  # fmt: skip
    x, y = WHITE
    matrix = np.stack(columns, axis=1)
    return matrix * np.linalg.solve(matrix, np.array([x / y, 1, (1 - x - y) / y]))


def inside(name: str, pixels: Array = RGB) -> Array:
    """Return an sRGB picture in the numbers of another space; all these spaces contain it."""
    primaries, exponent = SPACES[name]
    light = decoded(pixels / 255, 0)
    there = np.linalg.inv(to_xyz(primaries)) @ to_xyz(SRGB)
    return (encoded(light @ there.T, exponent) * 255).round().astype(np.uint8)


def profile(name: str) -> bytes:
    primaries, exponent = SPACES[name]
    return matrix_profile((*WHITE, *primaries), exponent)


def grey_profile(exponent: float) -> bytes:
    """Return a profile of grey alone: version 2, with a table for a curve."""
    curve = [round(65535 * (i / 255) ** exponent) for i in range(256)]
    body = struct.pack(">4sII256H", b"curv", 0, 256, *curve)
    white = struct.pack(">4sI3i", b"XYZ ", 0, 63190, 65536, 54061)
    table = struct.pack(">I4sII4sII", 2, b"wtpt", 156, 20, b"kTRC", 176, len(body))
    size = 128 + len(table) + len(white) + len(body)
    header = struct.pack(
        ">I4xI4s4s4s12x4s28x3i48x", size, 0x02400000, b"mntr", b"GRAY", b"XYZ ", b"acsp",
        63190, 65536, 54061,
    )  # fmt: skip
    return header + table + white + body


def ink_profile() -> bytes:
    """Return a profile of four inks: a table of their mixtures in Lab; the black is brown."""
    lab = ImageCms.buildTransform(
        ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
    )
    grid = []
    for c, m, y, k in np.ndindex(2, 2, 2, 2):
        rgb = tuple(int(255 * (1 - ink) * (1 - 0.8 * k)) for ink in (c, m, y))
        pixel = lab.apply(Image.new("RGB", (1, 1), (rgb[0], rgb[1], rgb[2] // (1 + k))))
        lightness, a, b = pixel.tobytes()[:3]
        grid += [lightness, (a + 128) % 256, (b + 128) % 256]
    unchanged = bytes(range(256))
    body = b"mft1" + struct.pack(">I4B9i", 0, 4, 3, 2, 0, *(65536 * (i % 4 == 0) for i in range(9)))
    body += unchanged * 4 + bytes(grid) + unchanged * 3
    table = struct.pack(">I4sII", 1, b"A2B0", 144, len(body))
    header = struct.pack(
        ">I4xI4s4s4s12x4s28x3i48x", 144 + len(body), 0x02400000, b"prtr", b"CMYK", b"Lab ", b"acsp",
        63190, 65536, 54061,
    )  # fmt: skip
    return header + table + body


def with_profile(format: str, pixels: Array, icc: bytes, **options: Any) -> bytes:
    return saved(Image.fromarray(pixels), format, icc_profile=icc, **options)
