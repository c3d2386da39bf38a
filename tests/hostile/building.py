"""Builders of PNGs and TIFFs that say of themselves whatever a test wants."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

from PIL import Image

SIDE = 40  # pixels: small, so that thousands are quick
PNG_START = b"\x89PNG\r\n\x1a\n"


def saved(picture: Image.Image, format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format, **options)
    return buffer.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(
    width: int, height: int, pixels: bytes, before: bytes = b"", bits: int = 8, color: int = 0
) -> bytes:
    """Return a PNG with any header; ``pixels`` are compressed."""
    header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0)
    body = chunk(b"IHDR", header) + before + chunk(b"IDAT", zlib.compress(pixels, 9))
    return PNG_START + body + chunk(b"IEND", b"")


def tiff(
    entries: list[tuple[int, int, int, int]],
    following: int = 0,
    pixels: bytes = b"",
) -> bytes:
    """Return a TIFF of one folder of (tag, type, count, value) at 8, then ``pixels`` at 512."""
    folder = struct.pack("<H", len(entries))
    for entry in entries:
        folder += struct.pack("<HHII", *entry)
    data = b"II*\0\x08\0\0\0" + folder + struct.pack("<I", following)
    return data.ljust(512, b"\0") + pixels


def exif_loop() -> bytes:
    """Return EXIF whose folders lead to one another."""
    entries = [(0x0112, 3, 1, 6), (0x8769, 4, 1, 8), (0x8825, 4, 1, 8), (0x014A, 4, 1, 8)]
    return tiff(entries, following=8)
