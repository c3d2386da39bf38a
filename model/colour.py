"""Colour profiles: what an image's numbers mean, and how they become sRGB."""

from __future__ import annotations

import hashlib
import io
import struct
import threading
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

# Larger ones are ignored: those of printers have about two million bytes.
MAX_PROFILE = 8_000_000
# Differences from sRGB, of 255, up to which a profile is taken to be sRGB: it then costs nothing.
SAME = 3
MAX_CACHED = 32  # transforms, of up to half a million bytes each

# Colour spaces of profiles, and the modes of images whose numbers they explain.
_SPACES = {b"RGB ": "RGB", b"GRAY": "L", b"CMYK": "CMYK", b"Lab ": "LAB"}
_GREY_MODES = {"1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N"}
# Of inputs, displays, outputs and colour spaces; others link devices or hold named colours.
_CLASSES = {b"scnr", b"mntr", b"prtr", b"spac"}

# CIE x and y of white, red, green and blue.
_BT709 = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
_BT2020 = (0.3127, 0.3290, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046)
_DISPLAY_P3 = (0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060)
# Code points of ITU-T H.273: primaries, and transfer curves as exponents (0: the curve of sRGB,
# which is what readers take video's curves for). Those of high dynamic range have no exponent.
_PRIMARIES = {1: _BT709, 9: _BT2020, 12: _DISPLAY_P3}
_EXPONENTS = {1: 0.0, 4: 2.2, 5: 2.8, 6: 0.0, 8: 1.0, 13: 0.0, 14: 0.0, 15: 0.0}

_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
_D50 = np.array([0.9642, 1.0, 0.8249])

_HEADER, _ENTRY = 128, 12  # bytes of a profile before its table of tags, and of one of its entries
_MAX_TAGS = 100  # as LCMS has it


class Conversion(NamedTuple):
    """A way from an image's own numbers to sRGB."""

    mode: str  # of the image that `apply` takes: RGB, L, CMYK or LAB
    transform: ImageCms.ImageCmsTransform

    def apply(self, picture: Image.Image) -> Image.Image:
        """Return the picture in sRGB; safe in several threads at once."""
        return self.transform.apply(picture)


def conversion(image: Image.Image, data: bytes) -> Conversion | None:
    """Return how an image becomes sRGB, or None if its numbers are sRGB already.

    Of several statements the strongest counts, as the formats' specifications and browsers have it:
    a profile, then the codes (nclx) of an AVIF or HEIC; of a PNG the codes (cICP), a profile,
    ``sRGB``, then ``gAMA`` with ``cHRM``. A profile that is broken, or made for images of another
    kind, is ignored.

    Parameters
    ----------
    image
        Opened, not loaded.
    data
        The file it was opened from.
    """
    profile = _stated(image, data)
    if not profile or len(profile) > MAX_PROFILE:
        return None
    mode = _SPACES.get(profile[16:20])
    fits = {
        "L": image.mode in _GREY_MODES,
        "CMYK": image.mode == "CMYK",
        "LAB": image.mode == "LAB",
    }
    # Grey numbers can be taken for equal red, green and blue.
    if mode is None or not fits.get(mode, image.mode not in ("CMYK", "LAB")):
        return None
    transform = _cached(profile, mode)
    return None if transform is None else Conversion(mode, transform)


def _stated(image: Image.Image, data: bytes) -> bytes | None:
    """Return the profile that an image comes with, or one made of what it says instead."""
    if image.format == "PNG":
        return _png_stated(data) or _png_gamma(image.info)
    profile: bytes | None = image.info.get("icc_profile")
    if profile:
        return profile
    if image.format == "AVIF":
        return _coded(*_nclx(data))
    nclx = image.info.get("nclx_profile") or {}
    return _coded(nclx.get("color_primaries"), nclx.get("transfer_characteristics"))


def _coded(primaries: int | None, curve: int | None) -> bytes | None:
    """Make a profile of what the codes of ITU-T H.273 stand for; None if that is not known here."""
    if primaries not in _PRIMARIES or curve not in _EXPONENTS:
        return None
    return matrix_profile(_PRIMARIES[primaries], _EXPONENTS[curve])


def _png_gamma(info: dict[Any, Any]) -> bytes | None:
    """Make a profile of a PNG's chunks gAMA and cHRM; None if they say sRGB, or nothing."""
    gamma = info.get("gamma", 0)
    if "srgb" in info or not 0.01 <= gamma <= 10:
        return None
    # Within a twentieth of 1/2.2, as libpng has it, the curve is sRGB's.
    exponent = 0.0 if abs(gamma * 2.2 - 1) < 0.05 else 1 / gamma
    try:
        return matrix_profile(info.get("chromaticity") or _BT709, exponent)
    except (np.linalg.LinAlgError, ZeroDivisionError, struct.error):  # colours that are none
        return None


def without_profile(data: bytes) -> bytes:
    """Return a PNG without its chunk iCCP, for which Pillow refuses it if it is large or damaged.

    Anything else is returned as it is; `conversion` reads the chunk itself.
    """
    kept, at = b"", 0
    for kind, start, size in _chunks(data):
        if kind == b"iCCP":
            kept, at = kept + data[at:start], start + size + 12
    return kept + data[at:] if at else data


def _chunks(png: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the kind, the place and the bytes inside of each chunk before a PNG's pixels."""
    at = 8
    while png[:8] == b"\x89PNG\r\n\x1a\n" and at + 12 <= len(png):
        kind, size = png[at + 4 : at + 8], _number(png, at)
        if kind == b"IDAT":
            return
        yield kind, at, size
        at += size + 12


def _png_stated(data: bytes) -> bytes | None:
    """Return what a PNG's chunks cICP (which Pillow does not read) or iCCP say."""
    profile = None
    for kind, at, size in _chunks(data):
        body = data[at + 8 : at + 8 + size]
        if kind == b"cICP" and size == 4:
            coded = _coded(body[0], body[1])
            if coded is not None:
                return coded
        elif kind == b"iCCP" and zlib.crc32(kind + body) == _number(data, at + 8 + size):
            packed = body[body.find(b"\0") + 1 :]
            with suppress(zlib.error):
                if packed[:1] == b"\0":  # the one method there is
                    profile = zlib.decompressobj().decompress(packed[1:], MAX_PROFILE + 1)
    return profile


def _nclx(data: bytes) -> tuple[int | None, int | None]:
    """Return the codes of primaries and curve of an AVIF; they lie before its pixels."""
    at = data.find(b"colrnclx", 0, 65536)
    if at < 0 or at + 12 > len(data):
        return None, None
    return struct.unpack_from(">HH", data, at + 8)


@lru_cache(64)
def matrix_profile(chromaticities: tuple[float, ...], exponent: float) -> bytes:
    """Return an ICC profile of three colours and one curve.

    Parameters
    ----------
    chromaticities
        CIE x and y of white, red, green and blue.
    exponent
        Of the curve; 0 for that of sRGB.
    """
    white, *colors = (
        np.array([x / y, 1, (1 - x - y) / y])
        for x, y in zip(chromaticities[::2], chromaticities[1::2], strict=True)
    )
    columns = np.stack(colors, axis=1)
    columns = columns * np.linalg.solve(columns, white)
    # To the white of profiles (Bradford, ICC.1:2022 annex E).
    adaptation = (
        np.linalg.inv(_BRADFORD) @ np.diag(_BRADFORD @ _D50 / (_BRADFORD @ white)) @ _BRADFORD
    )
    columns = adaptation @ columns
    if exponent:
        curve = struct.pack(">4sIHHi", b"para", 0, 0, 0, _fixed(exponent))
    else:
        numbers = map(_fixed, (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045))
        curve = struct.pack(">4sIHH5i", b"para", 0, 3, 0, *numbers)
    tags = {b"wtpt": _xyz(_D50)}
    tags |= {name: _xyz(columns[:, i]) for i, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))}
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    table, content = struct.pack(">I", len(tags)), b""
    start = _HEADER + 4 + _ENTRY * len(tags)
    for name, body in tags.items():
        table += name + struct.pack(">II", start + len(content), len(body))
        content += body
    sizes = start + len(content), 0x04400000
    kinds = b"mntr", b"RGB ", b"XYZ ", b"acsp"
    header = struct.pack(">I4xI4s4s4s12x4s28x3i48x", *sizes, *kinds, *map(_fixed, _D50))
    return header + table + content


def _number(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "big")


def _fixed(number: float) -> int:
    """Return the number in units of 1 / 65536 (s15Fixed16Number)."""
    return round(number * 65536)


def _xyz(color: npt.NDArray[Any]) -> bytes:
    return struct.pack(">4sI3i", b"XYZ ", 0, *map(_fixed, color))


_transforms: OrderedDict[tuple[bytes, str], ImageCms.ImageCmsTransform | None] = OrderedDict()
_lock = threading.Lock()


def _cached(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return `_transform`, made once for each of the `MAX_CACHED` profiles met last."""
    key = hashlib.sha256(profile).digest(), mode
    with _lock:
        if key in _transforms:
            _transforms.move_to_end(key)
            return _transforms[key]
    transform = _transform(profile, mode)  # outside the lock: at worst, two threads make the same
    with _lock:
        _transforms[key] = transform
        if len(_transforms) > MAX_CACHED:
            _transforms.popitem(last=False)
    return transform


def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Make a transform to sRGB; None if the profile is broken, of no use here, or sRGB."""
    if not _is_plain(profile):
        return None
    try:
        transform = ImageCms.ImageCmsTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")),
            mode,
            "RGB",
            ImageCms.Intent.PERCEPTUAL,
            # LCMS transforms are safe in several threads; without its cache of one pixel, surely.
            flags=ImageCms.Flags.NOCACHE | ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
        probe = _probe(mode)
        if probe is not None:
            seen = np.asarray(transform.apply(probe)).astype(int)
            if np.abs(seen - np.asarray(probe.convert("RGB"))).max() <= SAME:
                return None
    except (OSError, ValueError, TypeError):  # what ImageCms raises of profiles
        return None
    return transform


def _is_plain(profile: bytes) -> bool:
    """Whether a profile is of an image's kind and made of tables that are as long as they say.

    Chains of "processing elements" are refused: a megabyte of them holds so many that a transform
    takes minutes to make. No camera and no common program writes them.
    """
    if len(profile) < _HEADER + 4 or profile[12:16] not in _CLASSES:
        return False
    count = _number(profile, _HEADER)
    if count > _MAX_TAGS or len(profile) < _HEADER + 4 + count * _ENTRY:
        return False
    for at in range(_HEADER + 4, _HEADER + 4 + count * _ENTRY, _ENTRY):
        start = _number(profile, at + 4)
        if profile[start : start + 4] == b"mpet":
            return False
    return True


def _probe(mode: str) -> Image.Image | None:
    """Numbers by which a profile differs from sRGB; none of CMYK and Lab, which always do."""
    if mode == "L":
        return Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    if mode == "RGB":
        steps = np.linspace(0, 255, 18, dtype=np.uint8)
        return Image.fromarray(np.stack(np.meshgrid(steps, steps, steps), -1).reshape(18, -1, 3))
    return None
