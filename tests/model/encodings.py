"""One picture in every encoding of the accepted formats, written here byte by byte or by Pillow."""

from __future__ import annotations

import io
import lzma
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.ImageChops import invert

WIDTH, HEIGHT = 45, 34  # neither a multiple of a JPEG's blocks nor of a TIFF's tiles

Array = npt.NDArray[Any]


class Encoded(NamedTuple):
    """A file and what must be seen in it."""

    data: bytes
    pixels: Array  # RGB, uint8, shape = (HEIGHT, WIDTH, 3)
    error: float  # largest mean difference from them that the encoding itself explains


def scene() -> Array:
    """A picture of smooth colours, dark and light, with a white quarter at its lower right."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    red, green = x * 255 / (WIDTH - 1), y * 255 / (HEIGHT - 1)
    blue = 127.5 + 127.5 * np.sin(x / 7 + y / 5)
    picture = np.stack([red, green, blue], axis=2).round().astype(np.uint8)
    picture[HEIGHT // 2 :, WIDTH // 2 :] = 255
    return picture


RGB = scene()
GREY = RGB[..., :1].copy()
WHITE = (slice(HEIGHT // 2, None), slice(WIDTH // 2, None))  # where `scene` is white


def shown(samples: Array, bits: int) -> Array:
    """Samples of so many bits as RGB of 8."""
    scaled = (samples.astype(float) * 255 / (2**bits - 1)).round().astype(np.uint8)
    return np.broadcast_to(scaled, (HEIGHT, WIDTH, 3)).copy()


def deep(pixels: Array, bits: int) -> Array:
    """Samples of 8 bits as so many, with something in the lower bits."""
    exact = pixels.astype(float) / 255 * (2**bits - 1)
    if bits <= 8:
        return exact.round().astype(np.uint64)
    dither = np.random.default_rng(0).uniform(-0.3, 0.3, pixels.shape) * 2 ** (bits - 8)
    return (exact + dither).round().clip(0, 2**bits - 1).astype(np.uint64)


def encodings() -> dict[str, Encoded]:
    """Every one by its name."""
    found: dict[str, Encoded] = {}
    for make in (_jpegs, _pngs, _tiffs, _packed_tiffs, _bmps, _others, _heics):
        for name, encoded in make():
            assert name not in found
            found[name] = encoded
    return found


def saved(picture: Image.Image, format: str, **options: Any) -> bytes:
    """Return the bytes that Pillow writes."""
    buffer = io.BytesIO()
    picture.save(buffer, format, **options)
    return buffer.getvalue()


# ---- JPEG


def _jpegs() -> Iterator[tuple[str, Encoded]]:
    rgb, grey = Image.fromarray(RGB), Image.fromarray(GREY[..., 0])
    grey_shown = shown(GREY, 8)
    for sampling, error in (("4:4:4", 1.5), ("4:2:2", 6), ("4:2:0", 9)):
        for progressive in (False, True):
            data = saved(rgb, "JPEG", quality=98, subsampling=sampling, progressive=progressive)
            yield f"jpeg {sampling} progressive={progressive}", Encoded(data, RGB, error)
    for name, options in {
        "restarts": {"restart_marker_blocks": 2},
        "optimised": {"optimize": True},
        "RGB inside": {"keep_rgb": True},
    }.items():
        data = saved(rgb, "JPEG", quality=98, subsampling="4:4:4", **options)
        yield f"jpeg {name}", Encoded(data, RGB, 1.5)
    yield "jpeg grey", Encoded(saved(grey, "JPEG", quality=98), grey_shown, 1.5)
    inks = rgb.convert("CMYK")
    for progressive in (False, True):
        data = saved(inks, "JPEG", quality=98, progressive=progressive)
        yield f"jpeg cmyk progressive={progressive}", Encoded(data, RGB, 4)
    # The same inks as brightness, two differences and black (Adobe's YCCK).
    y, cb, cr = (band.point(lambda v: 255 - v) for band in invert(rgb).convert("YCbCr").split())
    coded = Image.merge("CMYK", (y, cb, cr, Image.new("L", rgb.size)))
    data = saved(coded, "JPEG", quality=98, subsampling="4:4:4")
    at = data.index(b"Adobe\0") + 11
    yield "jpeg ycck", Encoded(data[:at] + b"\2" + data[at + 1 :], RGB, 3)
    # Of the 12 bits that medical and astronomical JPEGs have.
    deeper = bytearray(saved(rgb, "JPEG", quality=98))
    deeper[deeper.index(b"\xff\xc0") + 4] = 12
    yield "jpeg 12 bits", Encoded(bytes(deeper), RGB, 0)


# ---- PNG


def chunk(kind: bytes, body: bytes) -> bytes:
    """A PNG's chunk."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


_ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
          (0, 1, 1, 2)]  # fmt: skip


def png(
    samples: Array, bits: int, color: int, chunks: bytes = b"", interlaced: bool = False
) -> bytes:
    """A PNG of such samples, shape = (H, W, S)."""
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


def packed(values: Array, bits: int, order: str) -> bytes:
    """A row of samples as bytes; its last byte is filled up."""
    if bits < 8:
        each = (values[:, None] >> np.arange(bits - 1, -1, -1, dtype=np.uint64)) & np.uint64(1)
        return np.packbits(each.astype(np.uint8).ravel()).tobytes()
    if bits == 12:
        each = (values[:, None] >> np.arange(11, -1, -1, dtype=np.uint64)) & np.uint64(1)
        return np.packbits(each.astype(np.uint8).ravel()).tobytes()
    return values.astype(f"{order}u{bits // 8}").tobytes()


def _pngs() -> Iterator[tuple[str, Encoded]]:
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
    """A PNG one of whose colours is transparent: that of its lower right quarter."""
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


# ---- TIFF


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
    """A TIFF of such samples, shape = (H, W, S), in strips of ``rows`` or in tiles.

    Parameters
    ----------
    tags, blobs
        Further entries: numbers of 16 bits, and bytes of no kind.
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
    """In codes of 9 bits: the table is cleared before it would need more."""
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


def _tiffs() -> Iterator[tuple[str, Encoded]]:
    """Photometrics, depths and layouts."""
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
    """CIELab of D50, its a and b signed."""
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


def _packed_tiffs() -> Iterator[tuple[str, Encoded]]:
    """The compressions that Pillow writes."""
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


# ---- BMP


def bmp(
    rows: list[bytes],
    bits: int,
    *,
    header: int = 40,
    compression: int = 0,
    masks: tuple[int, ...] = (),
    palette: Array | None = None,
    top_down: bool = False,
) -> bytes:
    """A BMP of such rows, the lowest first unless ``top_down``."""
    if compression not in (1, 2):
        rows = [row + bytes(-len(row) % 4) for row in rows]
    body = b"".join(rows)
    if header == 12:
        head = struct.pack("<IHHHH", 12, WIDTH, HEIGHT, 1, bits)
        table = b"" if palette is None else palette[:, ::-1].astype(np.uint8).tobytes()
    else:
        colors = 0 if palette is None else len(palette)
        head = struct.pack(
            "<IiiHHIIiiII", header, WIDTH, -HEIGHT if top_down else HEIGHT, 1, bits, compression,
            len(body), 2835, 2835, colors, 0,
        )  # fmt: skip
        fields = struct.pack(f"<{len(masks)}I", *masks)
        head = (head + fields).ljust(header, b"\0") if header > 40 else head + fields
        table = b""
        if palette is not None:
            table = b"".join(bytes([*map(int, c[::-1]), 0]) for c in palette)
    offset = 14 + len(head) + len(table)
    return b"BM" + struct.pack("<IHHI", offset + len(body), 0, 0, offset) + head + table + body


def _bmps() -> Iterator[tuple[str, Encoded]]:
    def ordered(rows: list[bytes], top_down: bool) -> list[bytes]:
        return rows if top_down else rows[::-1]

    alpha = np.full((HEIGHT, WIDTH, 1), 255, np.uint8)
    alpha[WHITE] = 0
    for top_down in (False, True):
        title = " top-down" if top_down else ""
        for bits in (1, 4, 8):
            colors = 2**bits
            palette = np.random.default_rng(bits).integers(0, 256, (colors, 3), dtype=np.uint8)
            indices = (GREY.astype(int) * (colors - 1) // 255).astype(np.uint64)
            seen = palette[indices[..., 0].astype(int)]
            rows = [packed(row.ravel(), bits, "<") for row in indices]
            for header in (12, 40, 108, 124):
                if header == 12 and top_down:
                    continue
                data = bmp(ordered(rows, top_down), bits, header=header, palette=palette,
                           top_down=top_down)  # fmt: skip
                yield f"bmp palette {bits} bits header {header}{title}", Encoded(data, seen, 0)
        bgr = RGB[..., ::-1]
        rows = ordered([row.tobytes() for row in bgr], top_down)
        yield f"bmp 24 bits{title}", Encoded(bmp(rows, 24, top_down=top_down), RGB, 0)
        rows = ordered([row.tobytes() for row in np.dstack([bgr, 0 * alpha])], top_down)
        yield f"bmp 32 bits{title}", Encoded(bmp(rows, 32, top_down=top_down), RGB, 0)
        masks = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
        rows = ordered([row.tobytes() for row in np.dstack([bgr, alpha])], top_down)
        data = bmp(rows, 32, header=124, compression=3, masks=masks, top_down=top_down)
        yield f"bmp 32 bits alpha{title}", Encoded(data, RGB, 0)
        for name, (red, green, blue), masks in (
            ("555", (5, 5, 5), ()),
            ("555 fields", (5, 5, 5), (0x7C00, 0x3E0, 0x1F)),
            ("565 fields", (5, 6, 5), (0xF800, 0x7E0, 0x1F)),
        ):
            parts = [deep(RGB[..., i : i + 1], b) for i, b in enumerate((red, green, blue))]
            seen = np.dstack(
                [shown(p, b)[..., 0] for p, b in zip(parts, (red, green, blue), strict=True)]
            )
            values = parts[0] << np.uint64(green + blue) | parts[1] << np.uint64(blue) | parts[2]
            rows = ordered([packed(row.ravel(), 16, "<") for row in values], top_down)
            data = bmp(rows, 16, compression=3 if masks else 0, masks=masks, top_down=top_down)
            yield f"bmp 16 bits {name}{title}", Encoded(data, seen, 0.6)
    for bits, compression in ((8, 1), (4, 2)):
        colors = 2**bits
        palette = np.random.default_rng(bits).integers(0, 256, (colors, 3), dtype=np.uint8)
        indices = (GREY[..., 0].astype(int) * (colors - 1) // 255).astype(np.uint8)
        rows = []
        for row in indices[::-1]:
            runs = b"".join(bytes([1, value if bits == 8 else value << 4]) for value in row)
            rows.append(runs + b"\0\0")
        rows.append(b"\0\1")
        data = bmp(rows, bits, compression=compression, palette=palette)
        yield f"bmp rle {bits} bits", Encoded(data, palette[indices], 0)


# ---- GIF, WebP, AVIF, HEIC


def _others() -> Iterator[tuple[str, Encoded]]:
    rgb, grey = Image.fromarray(RGB), Image.fromarray(GREY[..., 0])
    alpha = np.full((HEIGHT, WIDTH, 1), 255, np.uint8)
    alpha[WHITE] = 0
    rgba = Image.fromarray(np.dstack([RGB, alpha]))
    grey_shown = shown(GREY, 8)
    indexed = rgb.quantize(64)
    seen = np.asarray(indexed.convert("RGB"))
    for interlace in (0, 1):
        data = saved(indexed, "GIF", interlace=interlace)
        yield f"gif interlace={interlace}", Encoded(data, seen, 0)
        white = indexed.getpixel((WIDTH - 1, HEIGHT - 1))
        assert isinstance(white, int)
        dark = indexed.copy()
        colors = dark.getpalette()
        assert colors is not None
        colors[3 * white : 3 * white + 3] = [1, 2, 3]
        dark.putpalette(colors)
        data = saved(dark, "GIF", interlace=interlace, transparency=white)
        yield f"gif key interlace={interlace}", Encoded(data, seen, 0)
    yield "webp lossless", Encoded(saved(rgb, "WEBP", lossless=True), RGB, 0)
    yield "webp lossless alpha", Encoded(saved(rgba, "WEBP", lossless=True, exact=True), RGB, 0)
    yield "webp lossy", Encoded(saved(rgb, "WEBP", quality=98), RGB, 9)
    yield "webp lossy alpha", Encoded(saved(rgba, "WEBP", quality=98), RGB, 9)
    for sampling, error in (("4:4:4", 2), ("4:2:2", 9), ("4:2:0", 9)):
        for range_ in ("full", "limited"):
            data = saved(rgb, "AVIF", quality=98, subsampling=sampling, range=range_)
            yield f"avif {sampling} {range_}", Encoded(data, RGB, error)
    yield "avif grey", Encoded(saved(grey, "AVIF", quality=98), grey_shown, 2)
    for associated in (False, True):
        data = saved(rgba, "AVIF", quality=98, subsampling="4:4:4", alpha_premultiplied=associated)
        yield f"avif alpha associated={associated}", Encoded(data, RGB, 3)


def _heics() -> Iterator[tuple[str, Encoded]]:
    try:
        import pillow_heif
    except ImportError:
        return
    pillow_heif.register_heif_opener()
    alpha = np.full((HEIGHT, WIDTH), 255, np.uint8)
    alpha[WHITE] = 0
    for mode in ("RGB", "L", "RGBA", "LA"):
        picture = Image.fromarray(RGB).convert(mode)
        seen = np.asarray(picture.convert("RGB"))
        if mode.endswith("A"):
            picture.putalpha(Image.fromarray(alpha))
        yield f"heic {mode}", Encoded(saved(picture, "HEIF", quality=-1, chroma=444), seen, 1)
    for mode, pixels in (("RGB;16", RGB), ("I;16L", GREY)):
        content = (pixels.astype("<u2") * 257).tobytes()
        buffer = io.BytesIO()
        heif = pillow_heif.from_bytes(mode=mode, size=(WIDTH, HEIGHT), data=content)
        heif.save(buffer, quality=-1, chroma=444)
        seen = np.broadcast_to(pixels, RGB.shape).copy()
        yield f"heic {mode}", Encoded(buffer.getvalue(), seen, 1)
