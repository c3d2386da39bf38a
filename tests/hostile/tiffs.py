"""TIFFs that are made to do harm."""

from __future__ import annotations

import struct
import zlib

from PIL import Image

from tests.hostile.building import SIDE, saved, tiff


def tiffs() -> dict[str, bytes]:
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
    pages = saved(Image.new("1", (8, 8)), "TIFF", save_all=True,
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
