"""The picture as BMPs, written here byte by byte."""

from __future__ import annotations

import struct
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
    """Return a BMP of these rows, the lowest first unless ``top_down``."""
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


def bmps() -> Iterator[tuple[str, Encoded]]:
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
