"""TIFFs that Pillow reads wrong or not at all: they are read here, or refused by name."""

from __future__ import annotations

import io
import struct
from typing import Any

from PIL import Image, ImageChops, TiffImagePlugin
from PIL.ExifTags import Base

from model.image.samples import flatten

ADVICE = "save it with 8 bits a channel, or as PNG"

_FILL_ORDER, _PLANAR, _EXTRA, _SAMPLE_FORMAT, _SUBSAMPLING = 266, 284, 338, 339, 530
_SEPARATE, _SIGNED, _REVERSED, _WEBP = 2, 2, 2, 50001
_NEGATIVE, _GREY, _RGB, _PALETTE, _CMYK, _YCBCR = 0, 1, 2, 3, 5, 6  # photometric interpretations
_NAMES = {_NEGATIVE: "grey", _GREY: "grey", _RGB: "RGB", _PALETTE: "palette", _CMYK: "CMYK"}
_NAMES |= {_YCBCR: "YCbCr", 8: "Lab", 9: "Lab", 10: "Lab"}
_MODES = {_NEGATIVE: "L", _GREY: "L", _RGB: "RGB", _CMYK: "CMYK", _YCBCR: "YCbCr"}
_ASSOCIATED = 1  # a kind of alpha: the colours are multiplied by it
# Interpretation and samples of separate planes of 8 bits that Pillow reads right.
_READ_BY_PILLOW = {(_RGB, 3), (_RGB, 4), (_CMYK, 4)}
# Tags that describe one plane as they describe the whole.
_SHARED = (
    Base.ImageWidth, Base.ImageLength, Base.Compression, Base.FillOrder, Base.Orientation,
    Base.RowsPerStrip, Base.Predictor, Base.TileWidth, Base.TileLength, Base.JPEGTables,
    Base.ColorMap,
)  # fmt: skip
_SHORTS = {
    Base.Compression, Base.FillOrder, Base.Orientation, Base.Predictor, Base.ColorMap,
    Base.PhotometricInterpretation, Base.BitsPerSample,
}  # fmt: skip
_STRIPS = Base.StripOffsets, Base.StripByteCounts
_TILES = Base.TileOffsets, Base.TileByteCounts
_SHORT, _LONG, _UNDEFINED = 3, 4, 7  # types of values


def depth(image: Image.Image) -> int:
    """Return the bits of a sample of an opened TIFF."""
    return max(map(int, _tags(image).get(Base.BitsPerSample, (1,))))


def is_negative(image: Image.Image) -> bool:
    """Whether 0 is white and Pillow ignores it, as it does for samples of more than 8 bits."""
    return depth(image) > 8 and _interpretation(_tags(image)) == _NEGATIVE


def unsupported(image: Image.Image) -> str | None:
    """Describe an opened TIFF that Pillow and `load_planes` would show wrong; else None."""
    tags = _tags(image)
    if _SIGNED in tags.get(_SAMPLE_FORMAT, ()):
        return "of signed numbers"
    if tags.get(Base.Compression) == _WEBP:  # Pillow's libtiff is built without it
        return "packed as WebP"
    interpretation = _interpretation(tags)
    if _is_separate(image):
        subsampled = interpretation == _YCBCR and tags.get(_SUBSAMPLING) != (1, 1)
        wrong = subsampled or interpretation not in (*_MODES, _PALETTE)
    else:
        bits = {_NEGATIVE: (8,), _PALETTE: (1, 2, 4)}.get(interpretation, ())
        unpacked = tags.get(Base.Compression, 1) == 1
        wrong = unpacked and tags.get(_FILL_ORDER) == _REVERSED and depth(image) in bits
    return _description(tags, tags.prefix) if wrong else None


def unopened(data: bytes) -> str | None:
    """Describe a TIFF that Pillow does not open; None for damaged TIFFs and other files."""
    if data[:4] == b"MM\0+":
        return "that is large (BigTIFF) and in big-endian order"
    big = data[:4] == b"II+\0"
    if not big and data[:4] not in (b"II*\0", b"MM\0*"):
        return None
    try:
        tags = TiffImagePlugin.ImageFileDirectory_v2(data[: 16 if big else 8])
        start, room = tags.next, 8 if big else 2
        file = io.BytesIO(data)
        file.seek(start)
        tags.load(file)  # leaves out what lies beyond the end
        count = int.from_bytes(data[start : start + room], "little" if data[:2] == b"II" else "big")
        whole = count > 0 and len(tags) == count and Base.ImageWidth in tags
        return _description(tags, data[:2]) if whole else None
    except Exception:  # Pillow's decoders raise nearly every type there is
        return None


def _description(tags: Any, order: bytes) -> str:
    """Return the layout of a TIFF's samples in words, such as "of 3 x 16-bit RGB samples"."""
    bits = max(map(int, tags.get(Base.BitsPerSample, (1,))))
    count = int(tags.get(Base.SamplesPerPixel, 1))
    name = _NAMES.get(_interpretation(tags), "other")
    text = f"of {count} x {bits}-bit {name} samples"
    text += " that are signed" if _SIGNED in tags.get(_SAMPLE_FORMAT, ()) else ""
    text += " in separate planes" if tags.get(_PLANAR) == _SEPARATE else ""
    text += " with reversed bits" if tags.get(_FILL_ORDER) == _REVERSED else ""
    packing = int(tags.get(Base.Compression, 1))
    text += "" if packing in TiffImagePlugin.COMPRESSION_INFO else f" in compression {packing}"
    return text + (" in big-endian order" if order == b"MM" and bits > 8 else "")


def _tags(image: Image.Image) -> Any:
    return image.tag_v2  # type: ignore[attr-defined]


def _interpretation(tags: Any) -> int:
    return int(tags.get(Base.PhotometricInterpretation, 0))


def _is_separate(image: Image.Image) -> bool:
    """Whether a TIFF has its channels one after another in a way that Pillow does not read."""
    tags = _tags(image)
    if tags.get(_PLANAR) != _SEPARATE:
        return False
    layout = _interpretation(tags), int(tags.get(Base.SamplesPerPixel, 1))
    return depth(image) != 8 or layout not in _READ_BY_PILLOW or bool(tags.get(_EXTRA))


def load_planes(image: Image.Image, data: bytes) -> Image.Image | None:
    """Load a TIFF's channels one by one, each as a grey TIFF, where Pillow does not read them.

    Parameters
    ----------
    image
        Opened, and not `unsupported`.
    data
        The file it was opened from.

    Returns
    -------
    A loaded image of 8 bits, or of the TIFF's depth if it has one channel; None if Pillow reads it.
    """
    if not _is_separate(image):
        return None
    tags = _tags(image)
    count, interpretation = int(tags.get(Base.SamplesPerPixel, 1)), _interpretation(tags)
    if count == 1:
        return _plane(tags, data, 0, 1, interpretation)
    mode = _MODES[interpretation]
    bands = [
        flatten(_plane(tags, data, i, count, _GREY), "L", bits=depth(image))
        for i in range(min(count, Image.getmodebands(mode) + 1))
    ]
    alpha = bands[-1] if tags.get(_EXTRA, (0,))[0] and mode in ("L", "RGB") else None
    merged = Image.merge(mode, bands[: Image.getmodebands(mode)])
    if interpretation == _NEGATIVE:
        merged = ImageChops.invert(merged)
    if alpha is not None:
        merged = merged.convert("RGB")
        merged.putalpha(alpha)
        if tags[_EXTRA][0] == _ASSOCIATED:
            merged = Image.frombuffer("RGBa", merged.size, merged.tobytes()).convert("RGBA")
    return merged


def _plane(tags: Any, data: bytes, number: int, count: int, interpretation: int) -> Image.Image:
    """Load one channel: as the same file with another table of tags, at its end."""
    table: dict[int, Any] = {tag: tags[tag] for tag in _SHARED if tag in tags}
    offsets, sizes = _STRIPS if Base.TileOffsets not in tags else _TILES
    for tag in (offsets, sizes):
        parts = len(tags[tag]) // count
        table[tag] = tags[tag][number * parts : (number + 1) * parts]
    table[Base.PhotometricInterpretation] = interpretation
    table[Base.BitsPerSample] = int(tags.get(Base.BitsPerSample, (1,))[0])
    order = "<" if tags.prefix == b"II" else ">"
    at = len(data) + len(data) % 2
    header = tags.prefix + struct.pack(f"{order}HI", 42, at)
    file = header + data[8:] + bytes(at - len(data)) + _table(table, order, at)
    plane = Image.open(io.BytesIO(file), formats=("TIFF",))
    plane.load()
    return plane


def _table(tags: dict[int, Any], order: str, at: int) -> bytes:
    """Return the bytes of a TIFF's table of tags that is to lie at the place ``at`` in its file."""
    entries, beyond = struct.pack(f"{order}H", len(tags)), b""
    end = at + 2 + 12 * len(tags) + 4
    for tag, value in sorted(tags.items()):
        if isinstance(value, bytes):
            kind, count, content = _UNDEFINED, len(value), value
        else:
            numbers = [int(number) for number in (value if isinstance(value, tuple) else (value,))]
            short = tag in _SHORTS
            kind, count = _SHORT if short else _LONG, len(numbers)
            content = struct.pack(f"{order}{count}{'H' if short else 'I'}", *numbers)
        if len(content) > 4:
            content, beyond = struct.pack(f"{order}I", end + len(beyond)), beyond + content
            beyond += bytes(len(beyond) % 2)
        entries += struct.pack(f"{order}HHI", tag, kind, count) + content.ljust(4, b"\0")
    return entries + bytes(4) + beyond
