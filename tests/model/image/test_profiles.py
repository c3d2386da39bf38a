from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from tests.model.image.colours import SPACES, WHITE, decoded, inside, profile, with_profile
from tests.model.image.pictures import GREY, RGB, deep, saved
from tests.model.image.png_files import chunk, png
from tests.model.image.test_encodings import difference, shown


def gamma(value: float) -> bytes:
    return chunk(b"gAMA", struct.pack(">I", round(value * 100_000)))


def colors(*numbers: float) -> bytes:
    return chunk(b"cHRM", struct.pack(">8I", *(round(number * 100_000) for number in numbers)))


def test_gamma_of_a_png() -> None:
    linear = deep(inside("linear"), 8)
    assert difference(shown(png(linear, 8, 2, gamma(1.0))), RGB) < 3
    grey = (decoded(GREY / 255, 0) * 255).round().astype(np.uint64)
    assert difference(shown(png(grey, 8, 0, gamma(1.0))), np.dstack([GREY] * 3)) < 3
    p3 = deep(inside("Display P3"), 8)
    chunks = gamma(0.45455) + colors(*WHITE, *SPACES["Display P3"][0])
    assert difference(shown(png(p3, 8, 2, chunks)), RGB) < 2


@pytest.mark.parametrize(
    "chunks",
    [
        gamma(0.45455),
        gamma(0.45),
        gamma(0),
        gamma(400),
        chunk(b"sRGB", b"\0") + gamma(1.0),
        gamma(1.0) + chunk(b"sRGB", b"\0"),
        colors(*WHITE, *SPACES["Display P3"][0]),  # alone it counts for nothing
        gamma(0.45455) + colors(0, 0, 0, 0, 0, 0, 0, 0),
        gamma(0.45455) + colors(*WHITE, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3),
        chunk(b"cICP", bytes([1, 13, 0, 1])),
        chunk(b"cICP", bytes([1, 13, 0, 1]))
        + chunk(b"iCCP", b"icc\0\0" + zlib.compress(profile("ProPhoto"))),
        chunk(b"cICP", b"\x0c"),
    ],
)  # fmt: skip
def test_a_png_that_states_srgb_is_unchanged(chunks: bytes) -> None:
    assert (shown(png(deep(RGB, 8), 8, 2, chunks)) == RGB).all()


def test_a_profile_chunk_that_cannot_be_read_is_ignored() -> None:
    samples = deep(RGB, 8)
    good = chunk(b"iCCP", b"icc\0\0" + zlib.compress(profile("ProPhoto")))
    for chunks in (
        good[:-1] + bytes([good[-1] ^ 1]),  # its checksum
        chunk(b"iCCP", b"icc\0\1" + zlib.compress(profile("ProPhoto"))),  # a method that is none
        chunk(b"iCCP", b"icc\0\0" + b"not compressed"),
        chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(50_000_000))),
        chunk(b"iCCP", b""),
        chunk(b"iCCP", b"\0"),
    ):
        assert (shown(png(samples, 8, 2, chunks)) == RGB).all()
    assert difference(shown(png(deep(inside("ProPhoto"), 8), 8, 2, good + good)), RGB) < 3
    large = good_and_large("Display P3")
    assert difference(shown(png(deep(inside("Display P3"), 8), 8, 2, large)), RGB) < 2


def good_and_large(space: str) -> bytes:
    """Return a chunk whose profile is larger than Pillow allows: zeros follow its tables."""
    icc = profile(space) + bytes(3_000_000)
    return chunk(b"iCCP", b"icc\0\0" + zlib.compress(struct.pack(">I", len(icc)) + icc[4:]))


def test_of_two_statements_of_a_png_the_stronger_counts() -> None:
    p3, pro = (chunk(b"iCCP", b"icc\0\0" + zlib.compress(profile(name)))
               for name in ("Display P3", "ProPhoto"))  # fmt: skip
    samples = deep(inside("Display P3"), 8)
    for chunks in (p3 + gamma(1.0), chunk(b"cICP", bytes([12, 13, 0, 1])) + pro):
        assert difference(shown(png(samples, 8, 2, chunks)), RGB) < 2


def test_the_code_of_an_avif() -> None:
    data = bytearray(saved(Image.fromarray(inside("Display P3")), "AVIF", quality=99,
                           subsampling="4:4:4"))  # fmt: skip
    at = data.index(b"colrnclx") + 8
    data[at : at + 4] = struct.pack(">HH", 12, 13)
    assert difference(shown(bytes(data)), RGB) < 3


def test_a_profile_of_an_avif_counts_more_than_its_code() -> None:
    data = bytearray(with_profile("AVIF", inside("Display P3"), profile("Display P3"), quality=99,
                                  subsampling="4:4:4"))  # fmt: skip
    at = data.index(b"colrnclx") + 8
    data[at : at + 4] = struct.pack(">HH", 1, 13)
    assert difference(shown(bytes(data)), RGB) < 3


def test_codes_of_a_heic_are_applied() -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    heif = pillow_heif.from_pillow(Image.fromarray(inside("Display P3")))
    buffer = io.BytesIO()
    heif.save(buffer, quality=-1, color_primaries=12, transfer_characteristics=13)
    assert difference(shown(buffer.getvalue()), RGB) < 5  # what 4:2:0 takes away
