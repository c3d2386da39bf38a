"""Photos that are made to do harm."""

from __future__ import annotations

import re
import struct
import zlib
from functools import cache

from PIL import Image

from tests.hostile.building import PNG_START, SIDE, chunk, exif_loop, png, saved, tiff
from tests.hostile.tiffs import tiffs
from tests.hostile.valid import valid_photos


@cache
def crafted() -> dict[str, bytes]:
    """Return files made to be slow, to take memory, or to pass for something else, by name."""
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
        **{f"tiff {name}": data for name, data in tiffs().items()},
        **{f"gif {name}": data for name, data in _gifs().items()},
        **{f"webp {name}": data for name, data in _webps(photos).items()},
        **{f"bmp {name}": data for name, data in _bmps().items()},
        **{f"avif {name}": data for name, data in _avifs(photos).items()},
    }


def _pngs() -> dict[str, bytes]:
    square, rows = (SIDE, SIDE), bytes((SIDE + 1) * SIDE)
    blown = zlib.compress(bytes(50_000_000), 9)
    text = chunk(b"zTXt", b"Comment\0\0" + blown)
    long = chunk(b"tEXt", b"Comment\0" + b"x" * 900_000)
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
            *square, rows, chunk(b"iTXt", b"Comment\0\1\0\0\0" + blown) * 30
        ),
        "with a profile that unpacks": png(*square, rows, chunk(b"iCCP", b"icc\0\0" + blown)),
        "with 100,000 chunks": png(*square, rows, chunk(b"teSt", b"") * 100_000),
        "with 2 billion frames": png(
            *square, rows, chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0))
        ),
        "with no frame": png(*square, rows, chunk(b"acTL", bytes(8))),
        "of 3 bits": png(*square, rows, bits=3),
        "of a colour that is none": png(*square, rows, color=5),
        "without its palette": png(*square, rows, color=3),
        "with exif in a loop": png(*square, rows, chunk(b"eXIf", exif_loop())),
        "with exif that is none": png(*square, rows, chunk(b"eXIf", b"garbage" * 99)),
        "with exif in a text": png(
            *square, rows, chunk(b"tEXt", b"Raw profile type exif\0\nexif\n 9\nnot hex\n")
        ),
    }


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

    black = saved(Image.new("L", (3000, 3000)), "JPEG", progressive=True)
    scan = black[black.rindex(b"\xff\xda") : -2]
    profile = b"ICC_PROFILE\0"
    return {
        "as large as can be": sized(65535, 65535),
        "of 90 million pixels": sized(9500, 9500),
        "as a line": sized(65535, 1),
        "of no height": sized(SIDE, 0),
        "of a thousand scans": black[:-2] + scan * 1000 + black[-2:],
        "of 300,000 scans": black[:-2] + scan * 300_000 + black[-2:],
        "with exif in a loop": behind_start(segment(0xE1, b"Exif\0\0" + exif_loop())),
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
        "of 500 frames": saved(many[0], "GIF", save_all=True, append_images=many[1:]),
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
