"""JPEGs: their scans and depth, and those that lack nothing but their end marker."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageChops

from model.image.errors import InvalidImage

# A JPEG without its end marker is decoded three times, so it may have this many pixels at most.
MAX_PIXELS_WITHOUT_END = 25_000_000

# Markers: a frame's header, the start of a scan, the end of the image.
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_SCAN, _END = b"\xff\xda", b"\xff\xd9"
# Bits that no encoder writes, with restart markers between them.
_ARBITRARY_BITS = (
    b"".join(b"\x5a\xc3\x96\x3c\xa5\x69" * 20 + bytes([0xFF, 0xD0 + i]) for i in range(8)) * 2
)


def count_scans(data: bytes) -> int:
    """Return an upper bound of a JPEG's scans: a baseline JPEG has one, a progressive one many.

    Numpy takes a quarter of the time that ``bytes.count`` does.
    """
    content = np.frombuffer(data, np.uint8)
    return int(np.count_nonzero((content[:-1] == 0xFF) & (content[1:] == 0xDA)))


def bits_per_sample(data: bytes) -> int | None:
    """Return the depth of a JPEG's samples; None if its header does not give it."""
    at = 2
    while data[:2] == b"\xff\xd8" and data[at : at + 1] == b"\xff" and at + 5 < len(data):
        if data[at + 1] in _FRAMES:
            return data[at + 4]
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None


def has_end(data: bytes) -> bool:
    """Whether an end marker follows the start of a JPEG's last scan."""
    return data.rfind(_END) >= data.rfind(_SCAN)


def load_without_end(data: bytes, min_side: int) -> Image.Image:
    """Decode a JPEG that lacks its end marker, if that is all it lacks.

    Decoders make up what is missing of a scan from the bits that follow it. So the scans are whole
    if no pixel depends on those bits.

    Parameters
    ----------
    min_side
        See `model.image.open_rgb`.

    Raises
    ------
    InvalidImage
        More than the end is missing.
    """
    data = data.rstrip(b"\xff")  # half a marker
    one, other = (_load(data + following + _END) for following in (b"", _ARBITRARY_BITS))
    if ImageChops.difference(one, other).getbbox() is not None:
        raise InvalidImage("the image is damaged: it ends early")
    return _load(data + _END, min_side)


def _load(data: bytes, min_side: int | None = None) -> Image.Image:
    image = Image.open(io.BytesIO(data), formats=("JPEG",))
    image.draft("RGB", image.size if min_side is None else (min_side, min_side))
    image.load()
    return image
