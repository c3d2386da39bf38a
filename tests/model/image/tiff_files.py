"""The picture as TIFFs, written here byte by byte or by Pillow."""

from __future__ import annotations

import lzma
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from PIL import Image

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
    saved,
    shown,
)


def tiff(
    samples: Array,
    bits: int,
    photometric: int,
    *,
    order: str = "<",
    big: bool = False,
    planar: int = 1,
    compression: int = 1,
    predictor: int = 1,
    rows: int | None = None,
    tile: tuple[int, int] | None = None,
    reversed_bits: bool = False,
    tags: dict[int, tuple[int, ...]] | None = None,
    blobs: dict[int, bytes] | None = None,
) -> bytes:
    """Return a TIFF of these samples, shape = (H, W, S), in strips of ``rows`` or in tiles.

    Parameters
    ----------
    tags, blobs
        Further entries: numbers of 16 bits, and undefined bytes.
    """
    height, width, count = samples.shape
    high, wide = tile or (rows or height, width)
    planes = [samples[..., i : i + 1] for i in range(count)] if planar == 2 else [samples]
    parts = []
    for plane in planes:
        for top in range(0, height, high):
            for left in range(0, width, wide):
                part = plane[top : top + high, left : left + wide]
                if tile:
                    missing = ((0, high - part.shape[0]), (0, wide - part.shape[1]), (0, 0))
                    part = np.pad(part, missing, mode="edge")
                content = _tiff_rows(part, bits, order, predictor)
                content = _PACKERS[compression](content)
                if reversed_bits:
                    content = bytes(int(f"{byte:08b}"[::-1], 2) for byte in content)
                parts.append(content)
    entries: dict[int, tuple[str, tuple[int, ...]]] = {
        256: ("I", (width,)),
        257: ("I", (height,)),
        258: ("H", (bits,) * count),
        259: ("H", (compression,)),
        262: ("H", (photometric,)),
        277: ("H", (count,)),
        284: ("H", (planar,)),
        317: ("H", (predictor,)),
        266: ("H", (2 if reversed_bits else 1,)),
    }
    if predictor == 1:
        del entries[317]
    offsets, sizes = (324, 325) if tile else (273, 279)
    if tile:
        entries |= {322: ("I", (wide,)), 323: ("I", (high,))}
    else:
        entries[278] = ("I", (high,))
    entries |= {tag: ("H", values) for tag, values in (tags or {}).items()}
    start = 16 if big else 8
    places, at = [], start
    for part in parts:
        places.append(at)
        at += len(part) + len(part) % 2
    entries |= {offsets: ("I", tuple(places)), sizes: ("I", tuple(map(len, parts)))}
    body = b"".join(part + b"\0" * (len(part) % 2) for part in parts)
    return _tiff_file(entries, blobs or {}, body, order, big)


def _tiff_file(
    entries: dict[int, tuple[str, tuple[int, ...]]],
    blobs: dict[int, bytes],
    body: bytes,
    order: str,
    big: bool,
) -> bytes:
    kinds, offset, room = {"H": 3, "I": 4}, ("Q" if big else "I"), (8 if big else 4)
    encoded = {
        tag: (kinds[kind], len(values), struct.pack(f"{order}{len(values)}{kind}", *values))
        for tag, (kind, values) in entries.items()
    }
    encoded |= {tag: (7, len(blob), blob) for tag, blob in blobs.items()}
    start = 16 if big else 8
    folder_at = start + len(body)
    folder = struct.pack(f"{order}{'Q' if big else 'H'}", len(encoded))
    after = folder_at + len(folder) + len(encoded) * (12 + 2 * (room - 4)) + room
    tail = b""
    for tag, (kind, count, content) in sorted(encoded.items()):
        folder += struct.pack(f"{order}HH{offset}", tag, kind, count)
        if len(content) <= room:
            folder += content.ljust(room, b"\0")
        else:
            folder += struct.pack(f"{order}{offset}", after + len(tail))
            tail += content + b"\0" * (len(content) % 2)
    folder += bytes(room)
    mark = b"II" if order == "<" else b"MM"
    if big:
        head = mark + struct.pack(f"{order}HHHQ", 43, 8, 0, folder_at)
    else:
        head = mark + struct.pack(f"{order}HI", 42, folder_at)
    return head + body + folder + tail


def _tiff_rows(part: Array, bits: int, order: str, predictor: int) -> bytes:
    if predictor == 2:
        part = part.copy()
        part[:, 1:] = (part[:, 1:] - part[:, :-1]) % np.uint64(2**bits)
    return b"".join(packed(row.ravel(), bits, order) for row in part)


def _lzw(content: bytes) -> bytes:
    """Compress in codes of 9 bits; the table is cleared before it would need longer ones."""
    codes = [code for i in range(0, len(content), 200) for code in (256, *content[i : i + 200])]
    bits = "".join(f"{code:09b}" for code in (*codes, 257))
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def _packbits(content: bytes) -> bytes:
    pieces = [content[i : i + 128] for i in range(0, len(content), 128)]
    return b"".join(bytes([len(piece) - 1]) + piece for piece in pieces)


_PACKERS: dict[int, Callable[[bytes], bytes]] = {
    1: bytes,
    5: _lzw,
    8: zlib.compress,
    32946: zlib.compress,
    32773: _packbits,
    34925: lzma.compress,
    50001: lambda content: saved(Image.fromarray(RGB), "WEBP", lossless=True),
}


def tiffs() -> Iterator[tuple[str, Encoded]]:
    """Yield TIFFs of all photometrics, depths and layouts."""
    alpha = np.full((HEIGHT, WIDTH, 1), 255, np.uint8)
    alpha[WHITE] = 0
    inks = 255 - RGB
    inks = np.dstack([inks, np.zeros_like(GREY)])
    ramp = np.random.default_rng(7).integers(0, 256, (256, 3), dtype=np.uint64)
    kinds: list[tuple[str, Array, int, tuple[int, ...], dict[int, tuple[int, ...]]]] = [
        ("grey", GREY, 1, (1, 2, 4, 8, 12, 16, 32), {}),
        ("grey negative", 255 - GREY, 0, (1, 2, 4, 8, 16, 32), {}),
        ("grey and alpha", np.dstack([GREY, alpha]), 1, (8, 16), {338: (2,)}),
        ("grey associated", np.dstack([GREY * (alpha // 255), alpha]), 1, (8,), {338: (1,)}),
        ("grey and more", np.dstack([GREY, alpha]), 1, (8, 16), {338: (0,)}),
        ("rgb", RGB, 2, (4, 8, 16, 32), {}),
        ("rgb and more", np.dstack([RGB, alpha]), 2, (8, 16), {338: (0,)}),
        ("rgba", np.dstack([RGB, alpha]), 2, (8, 16), {338: (2,)}),
        ("rgba associated", np.dstack([RGB * (alpha // 255), alpha]), 2, (8, 16), {338: (1,)}),
        ("cmyk", inks, 5, (8, 16), {}),
    ]
    layouts: dict[str, dict[str, Any]] = {
        "": {},
        " big-endian": {"order": ">"},
        " BigTIFF": {"big": True},
        " BigTIFF big-endian": {"big": True, "order": ">"},
        " planar": {"planar": 2},
        " planar big-endian": {"planar": 2, "order": ">"},
        " strips": {"rows": 7},
        " tiles": {"tile": (16, 32)},
        " planar tiles": {"planar": 2, "tile": (16, 16)},
        " planar strips deflate": {"planar": 2, "rows": 9, "compression": 8},
        " deflate": {"compression": 8},
        " deflate big-endian": {"compression": 8, "order": ">"},
        " deflate predicted": {"compression": 8, "predictor": 2},
        " deflate predicted big-endian": {"compression": 8, "predictor": 2, "order": ">"},
        " lzw tiles": {"compression": 5, "tile": (32, 16)},
        " lzw planar": {"compression": 5, "planar": 2},
        " packbits strips": {"compression": 32773, "rows": 5},
        " reversed bits": {"reversed_bits": True},
        " reversed bits deflate": {"reversed_bits": True, "compression": 8},
    }
    for name, pixels, photometric, depths, tags in kinds:
        for bits in depths:
            samples = deep(pixels, bits)
            if 338 in tags:
                samples[..., -1:] = alpha * np.uint64((2**bits - 1) // 255)
            first = 3 if pixels.shape[2] > 2 else 1
            seen = shown(samples[..., :first], bits)
            if photometric == 0 or name == "cmyk":
                seen = 255 - seen
            if 338 in tags and tags[338] != (0,):
                seen[WHITE] = 255
            for layout, options in layouts.items():
                if options.get("predictor") and bits not in (8, 16, 32):
                    continue
                data = tiff(samples, bits, photometric, tags=tags, **options)
                yield f"tiff {name} {bits} bits{layout}", Encoded(data, seen, 0.6)
    for bits in (1, 2, 4, 8):
        for layout, options in layouts.items():
            if options.get("predictor") and bits != 8:
                continue
            colors = 2**bits
            palette = ramp[:colors]
            indices = (GREY.astype(int) * (colors - 1) // 255).astype(np.uint64)
            tags = {320: tuple((palette * 257).T.ravel().astype(int).tolist())}
            seen = palette[indices[..., 0].astype(int)].astype(np.uint8)
            data = tiff(indices, bits, 3, tags=tags, **options)
            yield f"tiff palette {bits} bits{layout}", Encoded(data, seen, 0)
    for bits in (8, 16, 32):
        data = tiff(deep(GREY, bits) // np.uint64(2), bits, 1, tags={339: (2,)})
        yield f"tiff grey signed {bits} bits", Encoded(data, RGB, 0)
    data = tiff(deep(RGB, 8), 8, 2, tags={339: (2, 2, 2)})
    yield "tiff webp", Encoded(tiff(deep(RGB, 8), 8, 2, compression=50001), RGB, 0)
    yield "tiff rgb signed", Encoded(data, RGB, 0)
    floats = struct.pack(f"<{GREY.size}f", *(GREY.ravel() / 255))
    numbers = np.frombuffer(floats, np.uint32).reshape(GREY.shape).astype(np.uint64)
    data = tiff(numbers, 32, 1, tags={339: (3,)})
    yield "tiff grey floats", Encoded(data, RGB, 0)
    ycc = np.asarray(Image.fromarray(RGB).convert("YCbCr")).astype(np.uint64)
    for layout, options in layouts.items():
        data = tiff(ycc, 8, 6, tags={530: (1, 1)}, **options)
        yield f"tiff ycbcr{layout}", Encoded(data, RGB, 1.5)
    yield from _labs()


def _labs() -> Iterator[tuple[str, Encoded]]:
    """Yield TIFFs in CIELab of D50, with a and b signed."""
    from PIL import ImageCms

    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    there = ImageCms.buildTransform(srgb, lab, "RGB", "LAB")
    back = ImageCms.buildTransform(lab, srgb, "LAB", "RGB")
    picture = there.apply(Image.fromarray(RGB))
    seen = np.asarray(back.apply(picture))
    values = np.frombuffer(picture.tobytes(), np.uint8).reshape(HEIGHT, WIDTH, 3)
    yield "tiff lab 8 bits", Encoded(saved(picture, "TIFF"), seen, 0.6)
    signed = values.astype(np.uint64)
    for layout, options in {"": {}, " deflate": {"compression": 8}}.items():
        data = tiff(signed, 8, 8, **options)
        yield f"tiff lab 8 bits written{layout}", Encoded(data, seen, 0.6)
    data = tiff(signed * np.uint64(257), 16, 8)
    yield "tiff lab 16 bits", Encoded(data, seen, 0.6)


def packed_tiffs() -> Iterator[tuple[str, Encoded]]:
    """Yield TIFFs in the compressions that Pillow writes."""
    rgb = Image.fromarray(RGB)
    two = Image.fromarray(np.where(GREY[..., 0] > 127, 255, 0).astype(np.uint8)).convert("1")
    black_and_white = shown(np.asarray(two)[..., None].astype(np.uint64), 1)
    for compression in ("tiff_ccitt", "group3", "group4"):
        data = saved(two, "TIFF", compression=compression)
        yield f"tiff {compression}", Encoded(data, black_and_white, 0)
    exact = ("tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "packbits", "lzma", "zstd")
    for compression in exact:
        data = saved(rgb, "TIFF", compression=compression)
        yield f"tiff {compression}", Encoded(data, RGB, 0)
    yield "tiff jpeg", Encoded(saved(rgb, "TIFF", compression="jpeg", quality=98), RGB, 9)
