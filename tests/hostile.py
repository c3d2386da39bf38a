"""Photos that were damaged or made to do harm, the same ones for the same seed."""

from __future__ import annotations

import io
import random
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.image import accepted

SIDE = 40  # pixels: small, so that thousands are quick
PNG_START = b"\x89PNG\r\n\x1a\n"
TELLING = [0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]


def hostile_photos(count: int, seed: int) -> Iterator[bytes]:
    """First every photo of `valid_photos` and `crafted`, then random damage to them.

    Parameters
    ----------
    count
        How many; `crafted` alone are about a hundred.
    """
    known = valid_photos() | crafted()
    yield from [*known.values()][:count]
    dice = random.Random(seed)
    # What is slow once need not be slow a hundred times.
    small = [d for name, d in known.items() if 0 < len(d) < 20_000 and "million" not in name]
    for _ in range(count - len(known)):
        data = dice.choice(small)
        for _ in range(dice.choice([1, 1, 1, 2, 3])):
            data = dice.choice(_MUTATIONS)(data, small, dice)
        if data.startswith(PNG_START) and dice.random() < 0.7:
            data = _with_checksums(data)  # or else nothing behind a checksum would be met
        yield data


@cache
def valid_photos() -> dict[str, bytes]:
    """One of every format and mode that is read."""
    noise = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE + 9, 4), dtype=np.uint8)
    rgba = Image.fromarray(noise)
    rgb = rgba.convert("RGB")
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "made by a test"

    def several(format: str, **options: Any) -> bytes:
        frames = [rgb.rotate(90 * i) for i in range(1, 4)]
        return _saved(rgb.copy(), format, save_all=True, append_images=frames, **options)

    sixteen = Image.fromarray(noise[..., 0].astype(np.uint16) * 257)
    found = {
        "jpeg": _saved(rgb, "JPEG", exif=exif),
        "jpeg progressive": _saved(rgb, "JPEG", progressive=True),
        "jpeg grey": _saved(rgb.convert("L"), "JPEG"),
        "jpeg cmyk": _saved(rgb.convert("CMYK"), "JPEG"),
        "jpeg icc": _saved(rgb, "JPEG", icc_profile=bytes(range(256)) * 10),
        "mpo": several("MPO"),
        "png": _saved(rgb, "PNG", exif=exif),
        "png alpha": _saved(rgba, "PNG"),
        "png palette": _saved(rgb.quantize(16), "PNG", transparency=3),
        "png two colours": _saved(rgb.convert("1"), "PNG"),
        "png 16 bits": _saved(sixteen, "PNG"),
        "png animated": several("PNG"),
        "webp": _saved(rgb, "WEBP", exif=exif),
        "webp lossless": _saved(rgba, "WEBP", lossless=True),
        "webp animated": several("WEBP"),
        "gif": _saved(rgb, "GIF"),
        "gif animated": several("GIF", transparency=0),
        "bmp": _saved(rgb, "BMP"),
        "bmp palette": _saved(rgb.quantize(16), "BMP"),
        "avif": _saved(rgb, "AVIF", exif=exif),
        "avif alpha": _saved(rgba, "AVIF"),
        "avif animated": several("AVIF"),
        "tiff": _saved(rgb, "TIFF"),
        "tiff pages": several("TIFF"),
        "tiff cmyk": _saved(rgb.convert("CMYK"), "TIFF", compression="tiff_lzw"),
        "tiff 16 bits": _saved(sixteen, "TIFF"),
        "tiff planar 16 bits": _planar(noise[..., :3]),
        "tiff lab": _saved(Image.new("LAB", (9, 9)), "TIFF"),
        "tiff ycbcr": _saved(rgb.convert("YCbCr"), "TIFF"),
    }
    if "HEIC" in accepted():
        import pillow_heif

        pillow_heif.register_heif_opener()
        found["heic"] = _saved(rgb, "HEIF", exif=exif.tobytes())
        found["heic of several"] = several("HEIF")
    for compression in ("jpeg", "tiff_deflate", "tiff_adobe_deflate", "packbits", "group4"):
        picture = rgb.convert("1") if compression == "group4" else rgb
        found[f"tiff {compression}"] = _saved(picture, "TIFF", compression=compression)
    return found


def _planar(colors: NDArray[np.uint8]) -> bytes:
    """A TIFF whose three channels of 16 bits lie one after another."""
    size = colors[..., 0].size * 2
    entries = [
        (256, 4, 1, colors.shape[1]), (257, 4, 1, colors.shape[0]), (258, 3, 3, 420),
        (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 3, 400), (277, 3, 1, 3),
        (278, 4, 1, colors.shape[0]), (279, 4, 3, 430), (284, 3, 1, 2),
    ]  # fmt: skip
    data = bytearray(tiff(entries, pixels=np.moveaxis(colors, 2, 0).astype("<u2").tobytes()))
    data[400:412] = struct.pack("<3I", *(512 + i * size for i in range(3)))
    data[420:426] = struct.pack("<3H", 16, 16, 16)
    data[430:442] = struct.pack("<3I", size, size, size)
    return bytes(data)


@cache
def crafted() -> dict[str, bytes]:
    """Made to be slow, to take memory, or to be taken for something else."""
    photos = valid_photos()
    return {
        "empty": b"",
        "one byte": b"\xff",
        "zeros": bytes(1_000_000),
        "spaces": b" " * 1_000_000,
        "only a start, jpeg": b"\xff\xd8\xff",
        "only a start, png": PNG_START,
        "only a start, gif": b"GIF89a",
        "only a start, webp": b"RIFF\xff\xff\xff\xffWEBPVP8 ",
        "only a start, tiff": b"II*\0\x08\0\0\0",
        "only a start, bmp": b"BM" + b"\xff" * 60,
        "only a start, avif": b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf",
        "only a start, heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
        "jpeg and pdf": b"%PDF-1.4\n" + photos["jpeg"],
        "jpeg and zip": photos["jpeg"] + b"PK\3\4" + bytes(99),
        "gif and html": b"GIF89a/*<script>*/" + photos["gif"][13:],
        "png and png": photos["png"] * 2,
        "svg": b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>',
        **{f"png {name}": data for name, data in _pngs().items()},
        **{f"jpeg {name}": data for name, data in _jpegs(photos).items()},
        **{f"tiff {name}": data for name, data in _tiffs().items()},
        **{f"gif {name}": data for name, data in _gifs().items()},
        **{f"webp {name}": data for name, data in _webps(photos).items()},
        **{f"bmp {name}": data for name, data in _bmps().items()},
        **{f"avif {name}": data for name, data in _avifs(photos).items()},
    }


def _saved(picture: Image.Image, format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format, **options)
    return buffer.getvalue()


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(
    width: int, height: int, pixels: bytes, before: bytes = b"", bits: int = 8, color: int = 0
) -> bytes:
    """A PNG that says what it likes; ``pixels`` are compressed."""
    header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0)
    body = _chunk(b"IHDR", header) + before + _chunk(b"IDAT", zlib.compress(pixels, 9))
    return PNG_START + body + _chunk(b"IEND", b"")


def _pngs() -> dict[str, bytes]:
    square, rows = (SIDE, SIDE), bytes((SIDE + 1) * SIDE)
    blown = zlib.compress(bytes(50_000_000), 9)
    text = _chunk(b"zTXt", b"Comment\0\0" + blown)
    long = _chunk(b"tEXt", b"Comment\0" + b"x" * 900_000)
    return {
        "of 100 million pixels": png(10_000, 10_000, bytes(10_001 * 10_000)),
        "over 100 million pixels": png(10_000, 10_001, b""),
        "as large as can be": png(2**31 - 1, 2**31 - 1, rows),
        "of a side that is none": png(0, 10, rows),
        "as a line": png(90_000_000, 1, bytes(1000)),
        "as a column": png(1, 90_000_000, bytes(1000)),
        "with more rows than it says": png(*square, bytes(20_000_000)),
        "with a text that unpacks": png(*square, rows, text),
        "with texts that unpack": png(*square, rows, text * 30),
        "with long texts": png(*square, rows, long * 30),
        "with international texts": png(
            *square, rows, _chunk(b"iTXt", b"Comment\0\1\0\0\0" + blown) * 30
        ),
        "with a profile that unpacks": png(*square, rows, _chunk(b"iCCP", b"icc\0\0" + blown)),
        "with 100,000 chunks": png(*square, rows, _chunk(b"teSt", b"") * 100_000),
        "with 2 billion frames": png(
            *square, rows, _chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0))
        ),
        "with no frame": png(*square, rows, _chunk(b"acTL", bytes(8))),
        "of 3 bits": png(*square, rows, bits=3),
        "of a colour that is none": png(*square, rows, color=5),
        "without its palette": png(*square, rows, color=3),
        "with exif in a loop": png(*square, rows, _chunk(b"eXIf", _exif_loop())),
        "with exif that is none": png(*square, rows, _chunk(b"eXIf", b"garbage" * 99)),
        "with exif in a text": png(
            *square, rows, _chunk(b"tEXt", b"Raw profile type exif\0\nexif\n 9\nnot hex\n")
        ),
    }


def _exif_loop() -> bytes:
    """EXIF whose folders lead to one another."""
    entries = [(0x0112, 3, 1, 6), (0x8769, 4, 1, 8), (0x8825, 4, 1, 8), (0x014A, 4, 1, 8)]
    return tiff(entries, following=8)


def _jpegs(photos: dict[str, bytes]) -> dict[str, bytes]:
    plain = photos["jpeg grey"]
    frame = re.search(rb"\xff\xc0..\x08(....)", plain, re.DOTALL)
    assert frame is not None

    def sized(width: int, height: int) -> bytes:
        size = struct.pack(">HH", height, width)
        return plain[: frame.start(1)] + size + plain[frame.end(1) :]

    def behind_start(*segments: bytes) -> bytes:
        return plain[:2] + b"".join(segments) + plain[2:]

    def segment(marker: int, body: bytes) -> bytes:
        return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body

    black = _saved(Image.new("L", (3000, 3000)), "JPEG", progressive=True)
    scan = black[black.rindex(b"\xff\xda") : -2]
    profile = b"ICC_PROFILE\0"
    return {
        "as large as can be": sized(65535, 65535),
        "of 90 million pixels": sized(9500, 9500),
        "as a line": sized(65535, 1),
        "of no height": sized(SIDE, 0),
        "of a thousand scans": black[:-2] + scan * 1000 + black[-2:],
        "of 300,000 scans": black[:-2] + scan * 300_000 + black[-2:],
        "with exif in a loop": behind_start(segment(0xE1, b"Exif\0\0" + _exif_loop())),
        "with exif that is none": behind_start(segment(0xE1, b"Exif\0\0" + b"garbage" * 99)),
        "with an orientation that is none": behind_start(
            segment(0xE1, b"Exif\0\0" + tiff([(0x0112, 2, 9, 8)]))
        ),
        "with a profile in pieces": behind_start(
            *(segment(0xE2, profile + bytes([i, 9]) + b"icc" * 99) for i in (3, 1, 200, 0))
        ),
        "with many frames": behind_start(
            segment(0xE2, b"MPF\0" + tiff([(0xB001, 4, 1, 2**32 - 1), (0xB002, 7, 16, 8)]))
        ),
        "with a segment longer than it": behind_start(b"\xff\xe1\xff\xffExif\0\0"),
        "with 10,000 comments": behind_start(segment(0xFE, b"x") * 10_000),
        "with XMP": behind_start(
            segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation='9'/>" * 9)
        ),
        "without its tables": re.sub(rb"\xff\xdb.{67}", b"", plain, flags=re.DOTALL),
        "of fill bytes": plain[:2] + b"\xff" * 100_000 + plain[2:],
    }


def tiff(
    entries: list[tuple[int, int, int, int]],
    following: int = 0,
    pixels: bytes = b"",
) -> bytes:
    """A TIFF of one folder of (tag, type, count, value) at 8, then ``pixels`` at 512."""
    folder = struct.pack("<H", len(entries))
    for entry in entries:
        folder += struct.pack("<HHII", *entry)
    data = b"II*\0\x08\0\0\0" + folder + struct.pack("<I", following)
    return data.ljust(512, b"\0") + pixels


def _tiffs() -> dict[str, bytes]:
    def grey(
        width: int = SIDE,
        height: int = SIDE,
        pixels: bytes = bytes(SIDE * SIDE),
        following: int = 0,
        **changed: int,
    ) -> bytes:
        tags = {
            "width": (256, 4, width), "height": (257, 4, height), "bits": (258, 3, 8),
            "compression": (259, 3, 1), "colors": (262, 3, 1), "strip": (273, 4, 512),
            "samples": (277, 3, 1), "rows": (278, 4, height), "bytes": (279, 4, len(pixels)),
            "tile_width": (322, 4, 0), "tile_height": (323, 4, 0), "tile": (324, 4, 512),
            "tile_bytes": (325, 4, len(pixels)),
        }  # fmt: skip
        entries = [
            (tag, kind, 1, changed.get(name, value))
            for name, (tag, kind, value) in tags.items()
            if not name.startswith("tile") or "tile_width" in changed
        ]
        return tiff(entries, following, pixels)

    blown = zlib.compress(bytes(50_000_000), 9)
    pages = _saved(Image.new("1", (8, 8)), "TIFF", save_all=True,
                   append_images=[Image.new("1", (8, 8))] * 300)  # fmt: skip
    huge = (2**32 - 1, 10**6, 10**5)
    return {
        "in a loop": grey(following=8),
        "in a loop of two": grey(following=512, pixels=tiff([(256, 4, 1, 1)], 8)[8:]),
        "of 300 pages": pages,
        "that unpacks": grey(pixels=blown, compression=8),
        "of 100 million pixels": grey(
            10_000, 10_000, zlib.compress(bytes(10**8), 9), compression=8
        ),
        "of 100 million pixels in no bytes": grey(10_000, 10_000),
        "of 100 million pixels in no bytes, packed": grey(10_000, 10_000, compression=8),
        "as large as can be": grey(2**32 - 1, 2**32 - 1),
        "of no width": grey(0, 10),
        "of many samples": grey(samples=65535),
        "of many bits": grey(bits=65535),
        "of no bits": grey(bits=0),
        "of a compression that is none": grey(compression=12345),
        "of colours that are none": grey(colors=999),
        "with its strip beyond the end": grey(strip=2**31),
        "with its folder beyond the end": b"II*\0\xff\xff\xff\x7f" + bytes(99),
        "big, with its folder beyond the end": b"II+\0\x08\0\0\0" + b"\xff" * 8 + bytes(99),
        "with an entry longer than it": tiff([(256, 4, 2**32 - 1, 8), (257, 4, 1, 9)]),
        "with 60,000 entries": b"II*\0\x08\0\0\0" + struct.pack("<H", 60_000) + bytes(720_004),
        **{f"of {n} rows a strip": grey(rows=n) for n in huge},
        **{f"of {n} rows a strip, packed": grey(rows=n, compression=8) for n in huge},
        **{f"of a strip of {n} bytes": grey(bytes=n, compression=8) for n in huge},
        **{
            f"of tiles of {n}, compression {compression}": grey(
                tile_width=n, tile_height=n, compression=compression
            )
            for n in (0, 7, 16, 2**16, 2**31)
            for compression in (1, 5, 7, 8)
        },
        "of a tile of 400 million pixels": grey(
            tile_width=20_000, tile_height=20_000, compression=5
        ),
        "of a tile of 1300 million pixels": grey(
            tile_width=20_000, tile_height=65_312, compression=7
        ),
        "of a strip of 600 million bytes": tiff(
            [
                (256, 4, 1, 10**4),
                (257, 4, 1, 10**4),
                (258, 3, 3, 400),
                (259, 3, 1, 8),
                (262, 3, 1, 2),
                (273, 4, 1, 512),
                (277, 3, 1, 3),
                (278, 4, 1, 10**4),
                (279, 4, 1, 1600),
            ],
            pixels=blown[:1600],
        )[:400]
        + struct.pack("<HHH", 16, 16, 16)
        + bytes(106)
        + blown[:1600],
    }


def _gifs() -> dict[str, bytes]:
    def gif(screen: tuple[int, int], frame: tuple[int, int, int, int], pixels: bytes) -> bytes:
        start = b"GIF89a" + struct.pack("<HH", *screen) + b"\x80\0\0" + bytes(6)
        return start + b"," + struct.pack("<HHHH", *frame) + b"\0\x02" + pixels + b"\0;"

    many = [Image.new("L", (8, 8), i % 256) for i in range(500)]
    return {
        "as large as can be": gif((65535, 65535), (0, 0, 1, 1), b"\x02\x4c\x01"),
        "of a frame larger than it": gif((10, 10), (0, 0, 65535, 65535), b"\x02\x4c\x01"),
        "of a frame beside it": gif((10, 10), (9000, 9000, 900, 900), b"\x02\x4c\x01"),
        "of 90 million pixels": gif((9500, 9500), (0, 0, 9500, 9500), b"\x02\x4c\x01"),
        "of no size": gif((0, 0), (0, 0, 0, 0), b"\x02\x4c\x01"),
        "of no frame": b"GIF89a\x0a\0\x0a\0\0\0\0;",
        "of codes that are none": gif((99, 99), (0, 0, 99, 99), b"\xff" + b"\xff" * 255),
        "of 500 frames": _saved(many[0], "GIF", save_all=True, append_images=many[1:]),
        "of endless comments": b"GIF89a\x0a\0\x0a\0\0\0\0" + (b"!\xfe\x01x\0" * 100_000),
    }


def _webps(photos: dict[str, bytes]) -> dict[str, bytes]:
    def lossless(width: int, height: int) -> bytes:
        body = b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14) + bytes(13)
        return b"RIFF" + struct.pack("<I", len(body) + 12) + b"WEBPVP8L\x12\0\0\0" + body

    def canvas(width: int, height: int) -> bytes:
        size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        body = photos["webp"][12:]
        if body.startswith(b"VP8X"):
            body = body[18:]
        return b"RIFF" + struct.pack("<I", len(body) + 22) + (
            b"WEBPVP8X" + struct.pack("<IB3x", 10, 2) + size + body
        )  # fmt: skip

    return {
        "of 49 million pixels in 38 bytes": lossless(7000, 7000),
        "of 100 million pixels in 38 bytes": lossless(10_000, 10_000),
        "as large as can be": lossless(16384, 16384),
        "of a canvas as large as can be": canvas(2**24, 2**24),
        "of a canvas of 49 million pixels": canvas(7000, 7000),
        "of a size that is a lie": photos["webp"][:4] + b"\xff\xff\xff\x7f" + photos["webp"][8:],
        "of no size": photos["webp"][:4] + bytes(4) + photos["webp"][8:],
    }


def _bmps() -> dict[str, bytes]:
    def bmp(width: int, height: int, bits: int = 24, packed: int = 0, pixels: bytes = b"") -> bytes:
        header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, packed, 0, 0, 0, 0, 0)
        return b"BM" + struct.pack("<IHHI", 54 + len(pixels), 0, 0, 54) + header + pixels

    return {
        "as large as can be": bmp(2**31 - 1, 2**31 - 1),
        "of 90 million pixels": bmp(9500, 9500),
        "upside down": bmp(9, -9, pixels=bytes(999)),
        "as far down as can be": bmp(9, -(2**31)),
        "of a negative width": bmp(-9, 9, pixels=bytes(999)),
        "of 7 bits": bmp(9, 9, 7, pixels=bytes(999)),
        "packed, of 90 million pixels": bmp(9500, 9500, 8, 1, bytes(1024) + b"\0\1" * 9),
        "packed, that jumps": bmp(99, 99, 8, 1, bytes(1024) + b"\0\2\xff\xff" * 999),
        "with masks that are none": bmp(9, 9, 32, 3, b"\xff" * 999),
        "with an endless palette": bmp(9, 9, 8)[:46] + b"\xff\xff\xff\x7f" * 2 + bytes(999),
    }


def _avifs(photos: dict[str, bytes]) -> dict[str, bytes]:
    plain = photos["avif"]
    size = plain.index(b"ispe") + 8

    def sized(width: int, height: int) -> bytes:
        return plain[:size] + struct.pack(">II", width, height) + plain[size + 8 :]

    meta = plain.index(b"meta") - 4
    return {
        "as large as can be": sized(2**32 - 1, 2**32 - 1),
        "of 49 million pixels": sized(7000, 7000),
        "of no size": sized(0, 0),
        "of a box without an end": plain[:meta] + bytes(4) + plain[meta + 4 :],
        "of a box too long": plain[:meta] + b"\x7f\xff\xff\xff" + plain[meta + 4 :],
        "that says it is HEIC": plain.replace(b"avif", b"heic"),
        "that says it is both": plain.replace(b"avif", b"mif1", 1),
        "that says it is a video": plain.replace(b"avif", b"mp42"),
    }


def _with_checksums(data: bytes) -> bytes:
    """A PNG's, put right as far as its chunks can be told apart."""
    fixed, place = bytearray(data), 8
    while place + 12 <= len(data):
        end = place + 8 + int.from_bytes(data[place : place + 4], "big")
        if end + 4 > len(data):
            break
        fixed[end : end + 4] = struct.pack(">I", zlib.crc32(data[place + 4 : end]))
        place = end + 4
    return bytes(fixed)


Mutation = Callable[[bytes, list[bytes], random.Random], bytes]


def _cut(data: bytes, others: list[bytes], dice: random.Random) -> bytes:
    return data[: dice.randrange(len(data) + 1)]


def _flip(data: bytes, others: list[bytes], dice: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(dice.choice([1, 2, 5, 20]) if data else 0):
        changed[_place(data, dice)] ^= 1 << dice.randrange(8)
    return bytes(changed)


def _number(data: bytes, others: list[bytes], dice: random.Random) -> bytes:
    """A size, count or offset becomes a telling one."""
    length = dice.choice([1, 2, 4])
    value = dice.choice(TELLING) % 256**length
    place = _place(data, dice)
    new = value.to_bytes(length, dice.choice(["big", "little"]))
    return data[:place] + new + data[place + length :]


def _overwrite(data: bytes, others: list[bytes], dice: random.Random) -> bytes:
    place, length = _place(data, dice), dice.randrange(1, 64)
    new = dice.choice([bytes(length), b"\xff" * length, dice.randbytes(length)])
    return data[:place] + new + data[place + length :]


def _remove(data: bytes, others: list[bytes], dice: random.Random) -> bytes:
    place = _place(data, dice)
    return data[:place] + data[place + dice.randrange(1, 200) :]


def _repeat(data: bytes, others: list[bytes], dice: random.Random) -> bytes:
    place, end = sorted((_place(data, dice), _place(data, dice)))
    return data[:end] + data[place:end] * dice.randrange(1, 4) + data[end:]


def _splice(data: bytes, others: list[bytes], dice: random.Random) -> bytes:
    """The beginning of one, the end of another, often of the same format."""
    alike = [other for other in others if other[:4] == data[:4]]
    other = dice.choice(alike if alike and dice.random() < 0.7 else others)
    return data[: _place(data, dice)] + other[_place(other, dice) :]


def _place(data: bytes, dice: random.Random) -> int:
    """Somewhere, half of the time in the first bytes, where headers are."""
    most = min(len(data), 200) if dice.random() < 0.5 else len(data)
    return dice.randrange(max(1, most))


_MUTATIONS: list[Mutation] = [
    _cut,
    _flip,
    _flip,
    _number,
    _number,
    _overwrite,
    _remove,
    _repeat,
    _splice,
]
