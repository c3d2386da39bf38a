from __future__ import annotations

import pytest
from PIL import Image

from model import image
from model.image import InvalidImage, UnsupportedFormat
from tests.model.image.photos import JPEG, PNG, bomb, vp8l
from tests.model.image.pictures import saved


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
        (saved(Image.new("F", (9, 9), 0.5), "TIFF"), "floating-point"),
    ],
    ids=[
        "empty", "text", "half-jpeg", "jpeg-header", "half-png", "holed-png",
        "bomb", "slightly-too-large", "line", "webp", "floats",
    ],
)  # fmt: skip
def test_bad_images(data: bytes, message: str) -> None:
    with pytest.raises(InvalidImage, match=message):
        image.decode(data, 32)


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
def test_unknown_bytes_are_not_called_unsupported(data: bytes) -> None:
    with pytest.raises(InvalidImage) as caught:
        image.decode(data, 32)
    assert type(caught.value) is InvalidImage
