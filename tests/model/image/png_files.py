"""The picture as PNGs, written here byte by byte."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np

from tests.model.image.pictures import (
    GREY,
    HEIGHT,
    RGB,
    WHITE,
    WIDTH,
    Array,
    Encoded,
    deep,
    packed,
    shown,
)

_ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
          (0, 1, 1, 2)]  # fmt: skip


def chunk(kind: bytes, body: bytes) -> bytes:
    """Return a chunk of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(
    samples: Array, bits: int, color: int, chunks: bytes = b"", interlaced: bool = False
) -> bytes:
    """Return a PNG of these samples, shape = (H, W, S)."""
    height, width = samples.shape[:2]
    passes = _ADAM7 if interlaced else [(0, 0, 1, 1)]
    content = b""
    for left, top, right, down in passes:
        part = samples[top::down, left::right]
        if part.size:
            content += b"".join(b"\0" + packed(row.ravel(), bits, ">") for row in part)
    header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, interlaced)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunks
        + chunk(b"IDAT", zlib.compress(content))
        + chunk(b"IEND", b"")
    )


def pngs() -> Iterator[tuple[str, Encoded]]:
    alpha = np.full((HEIGHT, WIDTH, 1), 255, np.uint8)
    alpha[WHITE] = 0
    for interlaced in (False, True):
        for color, name, pixels, depths in (
            (0, "grey", GREY, (1, 2, 4, 8, 16)),
            (2, "rgb", RGB, (8, 16)),
            (4, "grey and alpha", np.dstack([GREY, alpha]), (8, 16)),
            (6, "rgba", np.dstack([RGB, alpha]), (8, 16)),
        ):
            for bits in depths:
                samples = deep(pixels, bits)
                if color >= 4:
                    samples[..., -1:] = alpha * np.uint64((2**bits - 1) // 255)
                seen = shown(samples[..., : 1 if color in (0, 4) else 3], bits)
                if color >= 4:
                    seen[WHITE] = 255
                title = f"png {name} {bits} bits interlaced={interlaced}"
                yield title, Encoded(png(samples, bits, color, b"", interlaced), seen, 0.6)
                if color in (0, 2):
                    yield f"{title} key", _with_key(samples, bits, color, interlaced)
        for bits in (1, 2, 4, 8):
            yield from _indexed(bits, interlaced)


def _with_key(samples: Array, bits: int, color: int, interlaced: bool) -> Encoded:
    """Return a PNG whose lower right quarter has a colour that is transparent."""
    samples = samples.copy()
    top = 2**bits - 1
    # Of 16 bits, neighbours that differ in the last byte only stay.
    key = np.array([0, 0, 0] if bits < 16 else [513, 514, 515], np.uint64)[: samples.shape[2]]
    samples[(samples == key).all(axis=2)] = min(1, top)
    seen_before = samples.copy()
    if bits == 16:
        samples[0, :] = seen_before[0, :] = key + np.uint64(1)
    samples[WHITE] = key
    seen = shown(seen_before, bits)
    seen[WHITE] = 255
    body = b"".join(struct.pack(">H", int(value)) for value in key)
    return Encoded(png(samples, bits, color, chunk(b"tRNS", body), interlaced), seen, 0.6)


def _indexed(bits: int, interlaced: bool) -> Iterator[tuple[str, Encoded]]:
    colors = 2**bits
    palette = np.random.default_rng(bits).integers(0, 256, (colors, 3), dtype=np.uint8)
    indices = (GREY.astype(int) * (colors - 1) // 255).astype(np.uint64)
    plte = chunk(b"PLTE", palette.tobytes())
    title = f"png palette {bits} bits interlaced={interlaced}"
    seen = palette[indices[..., 0].astype(int)]
    yield title, Encoded(png(indices, bits, 3, plte, interlaced), seen, 0)
    opacity = np.full(colors, 255, np.uint8)
    opacity[-1] = 0
    half = opacity.copy()
    half[0] = 102  # of 255: 0.4
    for name, trns in (("key", opacity), ("alpha", half)):
        share = trns[indices[..., 0].astype(int)][..., None] / 255
        mixed = (seen * share + 255 * (1 - share)).round().astype(np.uint8)
        data = png(indices, bits, 3, plte + chunk(b"tRNS", trns.tobytes()), interlaced)
        yield f"{title} {name}", Encoded(data, mixed, 0.6)
