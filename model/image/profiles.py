"""The ICC profile of an image's colours: the one in its file, or one made from what the file says.

"ICC.1" is the specification of profiles, "H.273" the ITU-T's codes of colour spaces.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

# Larger profiles are ignored: those of printers have about two million bytes.
MAX_PROFILE = 8_000_000

# CIE x and y of white, red, green and blue.
_BT709 = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
_BT2020 = (0.3127, 0.3290, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046)
_DISPLAY_P3 = (0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060)
# H.273's codes: primaries, and transfer curves as exponents (0: the curve of sRGB, which is what
# readers use for video's curves). Curves of high dynamic range have no exponent.
_PRIMARIES = {1: _BT709, 9: _BT2020, 12: _DISPLAY_P3}
_EXPONENTS = {1: 0.0, 4: 2.2, 5: 2.8, 6: 0.0, 8: 1.0, 13: 0.0, 14: 0.0, 15: 0.0}

_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
_D50 = np.array([0.9642, 1.0, 0.8249])

# Bytes of a profile before its table of tags, and of one entry of that table.
HEADER_SIZE, ENTRY_SIZE = 128, 12


def profile_of(image: Image.Image, data: bytes) -> bytes | None:
    """Return the ICC profile of an opened image; None if its file says nothing about its colours.

    Of several statements the strongest counts, as the formats' specifications and browsers have it:
    a profile, then the codes (nclx) of an AVIF or HEIC; in a PNG the codes (cICP), a profile,
    ``sRGB``, then ``gAMA`` with ``cHRM``.

    Parameters
    ----------
    data
        The file that the image was opened from.
    """
    if image.format == "PNG":
        return _png_profile(data) or _png_gamma_profile(image.info)
    profile: bytes | None = image.info.get("icc_profile")
    if profile:
        return profile
    if image.format == "AVIF":
        return _coded_profile(*_avif_codes(data))
    codes = image.info.get("nclx_profile") or {}
    return _coded_profile(codes.get("color_primaries"), codes.get("transfer_characteristics"))


def without_profile(data: bytes) -> bytes:
    """Return a PNG without its chunk iCCP, and any other file unchanged.

    Pillow refuses a PNG whose iCCP is large or damaged; `profile_of` reads the chunk itself.
    """
    kept, at = b"", 0
    for kind, start, size in _chunks(data):
        if kind == b"iCCP":
            kept, at = kept + data[at:start], start + size + 12
    return kept + data[at:] if at else data


@lru_cache(64)
def matrix_profile(chromaticities: tuple[float, ...], exponent: float) -> bytes:
    """Return an ICC profile of three colours and one curve.

    Parameters
    ----------
    chromaticities
        CIE x and y of white, red, green and blue.
    exponent
        The curve's exponent; 0 for the curve of sRGB.
    """
    if exponent:
        curve = struct.pack(">4sIHHi", b"para", 0, 0, 0, _fixed(exponent))
    else:
        numbers = map(_fixed, (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045))
        curve = struct.pack(">4sIHH5i", b"para", 0, 3, 0, *numbers)
    columns = _adapted_colors(chromaticities)
    tags = {b"wtpt": _xyz(_D50)}
    tags |= {name: _xyz(columns[:, i]) for i, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))}
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    return _packed(tags)


def number_at(data: bytes, at: int) -> int:
    """Return the big-endian number of four bytes at a place in a profile or a PNG."""
    return int.from_bytes(data[at : at + 4], "big")


def _adapted_colors(chromaticities: tuple[float, ...]) -> npt.NDArray[Any]:
    """Return XYZ of red, green and blue as columns, adapted to D50, the white of profiles.

    The adaptation is Bradford's, ICC.1:2022 annex E.
    """
    white, *colors = (
        np.array([x / y, 1, (1 - x - y) / y])
        for x, y in zip(chromaticities[::2], chromaticities[1::2], strict=True)
    )
    columns = np.stack(colors, axis=1)
    columns = columns * np.linalg.solve(columns, white)
    adaptation = (
        np.linalg.inv(_BRADFORD) @ np.diag(_BRADFORD @ _D50 / (_BRADFORD @ white)) @ _BRADFORD
    )
    adapted: npt.NDArray[Any] = adaptation @ columns
    return adapted


def _packed(tags: dict[bytes, bytes]) -> bytes:
    """Return the bytes of a display's profile with these tags."""
    table, content = struct.pack(">I", len(tags)), b""
    start = HEADER_SIZE + 4 + ENTRY_SIZE * len(tags)
    for name, body in tags.items():
        table += name + struct.pack(">II", start + len(content), len(body))
        content += body
    sizes = start + len(content), 0x04400000
    kinds = b"mntr", b"RGB ", b"XYZ ", b"acsp"
    header = struct.pack(">I4xI4s4s4s12x4s28x3i48x", *sizes, *kinds, *map(_fixed, _D50))
    return header + table + content


def _fixed(number: float) -> int:
    """Return the number in units of 1 / 65536 (s15Fixed16Number)."""
    return round(number * 65536)


def _xyz(color: npt.NDArray[Any]) -> bytes:
    return struct.pack(">4sI3i", b"XYZ ", 0, *map(_fixed, color))


def _coded_profile(primaries: int | None, curve: int | None) -> bytes | None:
    """Make a profile for H.273's codes; None for codes that are not known here."""
    if primaries not in _PRIMARIES or curve not in _EXPONENTS:
        return None
    return matrix_profile(_PRIMARIES[primaries], _EXPONENTS[curve])


def _avif_codes(data: bytes) -> tuple[int | None, int | None]:
    """Return the codes of primaries and curve of an AVIF; they lie before its pixels."""
    at = data.find(b"colrnclx", 0, 65536)
    if at < 0 or at + 12 > len(data):
        return None, None
    return struct.unpack_from(">HH", data, at + 8)


def _png_profile(data: bytes) -> bytes | None:
    """Return the profile of a PNG's chunk cICP, which Pillow does not read, or else iCCP."""
    profile = None
    for kind, at, size in _chunks(data):
        body = data[at + 8 : at + 8 + size]
        if kind == b"cICP" and size == 4:
            coded = _coded_profile(body[0], body[1])
            if coded is not None:
                return coded
        elif kind == b"iCCP" and zlib.crc32(kind + body) == number_at(data, at + 8 + size):
            packed = body[body.find(b"\0") + 1 :]
            with suppress(zlib.error):
                if packed[:1] == b"\0":  # the only method there is
                    profile = zlib.decompressobj().decompress(packed[1:], MAX_PROFILE + 1)
    return profile


def _png_gamma_profile(info: dict[Any, Any]) -> bytes | None:
    """Make a profile of a PNG's chunks gAMA and cHRM; None if they say sRGB, or nothing."""
    gamma = info.get("gamma", 0)
    if "srgb" in info or not 0.01 <= gamma <= 10:
        return None
    # Within a twentieth of 1/2.2 libpng takes the curve for sRGB's.
    exponent = 0.0 if abs(gamma * 2.2 - 1) < 0.05 else 1 / gamma
    try:
        return matrix_profile(info.get("chromaticity") or _BT709, exponent)
    except (np.linalg.LinAlgError, ZeroDivisionError, struct.error):  # impossible colours
        return None


def _chunks(png: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, start and content size of the chunks before a PNG's pixels."""
    at = 8
    while png[:8] == b"\x89PNG\r\n\x1a\n" and at + 12 <= len(png):
        kind, size = png[at + 4 : at + 8], number_at(png, at)
        if kind == b"IDAT":
            return
        yield kind, at, size
        at += size + 12
