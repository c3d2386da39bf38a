"""Bytes of a photo -> RGB -> tensor. The only preprocessing: training and serving share it."""

from __future__ import annotations

import importlib.util
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import ExifTags, Image, ImageChops, UnidentifiedImageError

from model import tiff
from model.colour import conversion, without_profile
from model.samples import adapt_key, opaque

# Raster formats whose decoders are memory-safe enough to meet strangers' bytes; never EPS, PSD, ...
# HEIC comes on top where pillow-heif is installed.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF")
# Raised when the pixels of some photo change: what was decoded before is then not mixed with them.
DECODING = 2
# Known from the header, before memory is spent: 100 million pixels are 400 MB in Pillow. Of the
# newer formats half, because their decoders hold a photo several times over.
MAX_PIXELS = 100_000_000
MAX_PIXELS_OF = {"WEBP": MAX_PIXELS // 2, "AVIF": MAX_PIXELS // 2, "HEIC": MAX_PIXELS // 2}
# A side's resampling weights take 16 bytes a pixel of it; no camera comes near.
MAX_SIDE = 1_000_000
# A progressive JPEG visits its pixels in each of its scans: ten are usual, thousands an attack.
MAX_VISITS = 32 * MAX_PIXELS
MAX_ENDLESS = 25_000_000  # pixels of a JPEG without its end, which is decoded three times
MAX_STRIP = 4 * MAX_PIXELS  # bytes: libtiff unpacks a strip or tile of a TIFF as a whole

# Of a JPEG: the markers of a frame, before a scan and at the end; and bits, with restarts.
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_SCAN, _END = b"\xff\xda", b"\xff\xd9"
_OTHER_BITS = (
    b"".join(b"\x5a\xc3\x96\x3c\xa5\x69" * 20 + bytes([0xFF, 0xD0 + i]) for i in range(8)) * 2
)

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Of a PNG that is to be turned, one of these.
_PNG_EXIF = (b"eXIf", b"Raw profile type exif", b"XML:com.adobe.xmp")
# Of ISO media files, the brands in their first box.
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_AVIF_BRANDS = {b"avif", b"avis"}
_ANY_CODEC_BRANDS = {b"mif1", b"msf1"}
# What people send that is no photo: how it starts, and what it is.
_OTHERS = [
    (re.compile(start, re.DOTALL | re.IGNORECASE), kind)
    for start, kind in (
        (rb"\s*%PDF-", "a PDF document"),
        (rb"%!PS|\xc5\xd0\xd3\xc6", "a PostScript document"),
        (rb"8BP[SB]", "a Photoshop document"),
        (rb"(\xef\xbb\xbf)?\s*(<\?xml|<!--|<!DOCTYPE svg).{0,4000}?<svg\b", "an SVG drawing"),
        (rb"(\xef\xbb\xbf)?\s*<svg\b", "an SVG drawing"),
        (rb"\0\0[\x01\x02]\0", "an icon"),
        (rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51", "a JPEG 2000 image"),
        (rb"\0\0\0\x0cJXL \r\n\x87\n|\xff\x0a", "a JPEG XL image"),
        (rb"....ftypcrx ", "a camera's raw file"),
        (rb"....ftyp|\x1aE\xdf\xa3|RIFF....AVI |\0\0\x01[\xba\xb3]", "a video"),
        (rb"PK\x03\x04", "a ZIP archive or an office document"),
    )
]


class InvalidImage(ValueError):
    """The bytes are no photo that can be captioned; the message says why."""


class UnsupportedFormat(InvalidImage):
    """The bytes are a picture, document or video of a kind that is not read."""


class ImageInfo(NamedTuple):
    """What a photo's header says."""

    width: int  # pixels, of the photo turned upright
    height: int
    format: str  # "JPEG", ..., one of `accepted`


class Header(NamedTuple):
    """The part of a photo's header that tells how long decoding it takes."""

    format: str  # "JPEG", ..., one of `accepted`
    pixels: int
    scans: int  # of a progressive JPEG at most; 1 for other formats


def accepted() -> tuple[str, ...]:
    """The names of the formats that are read here."""
    return (*FORMATS, "HEIC") if importlib.util.find_spec("pillow_heif") else FORMATS


def decode(data: bytes | bytearray | memoryview, size: int) -> torch.Tensor:
    """Decode a photo, turn it upright and squash it to a square.

    Parameters
    ----------
    data
        The content of an image file in one of the formats `accepted`; of several frames, the first
        counts.
    size
        Side of the square, pixels.

    Returns
    -------
    RGB, uint8, shape = (3, size, size)

    Raises
    ------
    InvalidImage
        The bytes are empty, no image, damaged, or hold more than `MAX_PIXELS` pixels;
        `UnsupportedFormat` if they are recognised as something else.
    """
    # Half as much again leaves the resampling enough to average over: of a camera's photo it is
    # 0.4 of 255 away from decoding all pixels.
    squashed = _decoded(data, least=size * 3 // 2, square=(size, size))
    # By numpy: torch would start threads of its own for every thread that decodes.
    return torch.from_numpy(np.ascontiguousarray(np.asarray(squashed).transpose(2, 0, 1)))


def open_rgb(data: bytes | bytearray | memoryview, least: int) -> Image.Image:
    """Decode a photo and turn it upright, in its own shape and in sRGB.

    Parameters
    ----------
    least
        Pixels a side that are wanted: a photo is made smaller by a whole factor where it still has
        them (a JPEG) or twice as many (others), a JPEG while it is decoded, for a fraction of the
        work.

    Raises
    ------
    InvalidImage
        As `decode`.
    """
    return _decoded(data, least, None)


def _decoded(
    data: bytes | bytearray | memoryview, least: int, square: tuple[int, int] | None
) -> Image.Image:
    """Decode to sRGB, upright; colours are converted after resizing, which costs a tenth."""
    data = bytes(data)
    with _opened(data) as image:
        to_srgb = conversion(image, data)
        loaded, depth = _loaded(image, data, least)
        turn = _TURNS.get(_orientation(image))
        shrink = 1 if turn else max(1, min(loaded.size) // (2 * least))
        # The last column and row may stand for fewer pixels.
        box = 0, 0, loaded.width / shrink, loaded.height / shrink
        picture = opaque(loaded, "RGB" if to_srgb is None else to_srgb.mode, shrink, **depth)
    del loaded, image  # turning makes another copy
    if turn is not None:
        picture = picture.transpose(turn)
        box = 0, 0, *picture.size
    if square is not None:
        picture = picture.resize(square, Image.Resampling.BILINEAR, box)
    return picture if to_srgb is None else to_srgb.apply(picture)


def _loaded(image: Image.Image, data: bytes, least: int) -> tuple[Image.Image, dict[str, Any]]:
    """Load the pixels; return the image and what `opaque` must know of their depth."""
    if image.format == "TIFF":
        depth = {"bits": tiff.depth(image), "negative": tiff.is_negative(image)}
        planes = tiff.planes(image, data)
        if planes is None:
            image.load()
        return planes or image, depth
    lower = adapt_key(image, data)
    if lower is not None:
        lower.load()
    whole = image.width * image.height
    image.draft("RGB", (least, least))
    try:
        image.load()
    except OSError:
        endless = _name(image) == "JPEG" and data.rfind(_END) < data.rfind(_SCAN)
        if not endless or whole > MAX_ENDLESS:
            raise
        return _ended(data, least), {}
    return image, {"lower": lower}


def _ended(data: bytes, least: int) -> Image.Image:
    """Decode a JPEG without its end marker, if that is all it lacks.

    Decoders make up what is missing of a scan from the bits that follow. So its scans are whole if
    no pixel depends on what follows.
    """
    data = data.rstrip(b"\xff")  # half a marker
    one, other = (_jpeg(data + following + _END) for following in (b"", _OTHER_BITS))
    if ImageChops.difference(one, other).getbbox() is not None:
        raise InvalidImage("the image is damaged: it ends early")
    return _jpeg(data + _END, least)


def _jpeg(data: bytes, least: int = MAX_SIDE) -> Image.Image:
    image = Image.open(io.BytesIO(data), formats=("JPEG",))
    image.draft("RGB", (least, least))
    image.load()
    return image


def read_header(data: bytes | bytearray | memoryview) -> Header:
    """Return what decoding a photo will take, without decoding any of it.

    Raises
    ------
    InvalidImage
        As `decode`.
    """
    with _opened(data) as image:
        name = _name(image)
        return Header(
            name, image.width * image.height, _scans(bytes(data)) if name == "JPEG" else 1
        )


def describe(data: bytes | bytearray | memoryview) -> ImageInfo:
    """Read a photo's header only: damage further on is not seen.

    Raises
    ------
    InvalidImage
        As `decode`.
    """
    data = bytes(data)
    with _opened(data) as image:
        width, height = image.size
        # Pillow decodes the whole of a PNG to see whether EXIF comes after its pixels.
        upright = image.format == "PNG" and not any(mark in data for mark in _PNG_EXIF)
        # Pillow gives a TIFF's size, and that alone, as it is after turning.
        if not upright and image.format != "TIFF" and _orientation(image) >= 5:
            width, height = height, width
        return ImageInfo(width, height, _name(image))


@contextmanager
def _opened(data: bytes | bytearray | memoryview) -> Iterator[Image.Image]:
    """An image whose header is read and within the limits; what fails in the block is its fault."""
    data = bytes(data)
    if not data:
        raise InvalidImage("the image is empty (0 bytes)")
    try:
        readable = io.BytesIO(without_profile(data))
        with Image.open(readable, formats=_formats(data)) as image:
            _check_limits(image, data)
            yield image
    except (InvalidImage, MemoryError):
        raise
    except UnidentifiedImageError as error:
        if _brands(data) & (_HEIC_BRANDS | _AVIF_BRANDS | _ANY_CODEC_BRANDS):
            raise InvalidImage("the image is damaged: its header cannot be read") from error
        kind = _unread(data)
        if kind is not None:
            raise UnsupportedFormat(f"this is {kind}, which is not read; {tiff.ADVICE}") from error
        for start, kind in _OTHERS:
            if start.match(data[:8192]):
                raise UnsupportedFormat(f"this is {kind}; accepted: {_list()}") from error
        raise InvalidImage(f"not an image; accepted: {_list()}") from error
    except Image.DecompressionBombError as error:
        raise InvalidImage(f"the image has over {MAX_PIXELS:,} pixels") from error
    except Exception as error:  # Pillow's decoders raise nearly every type there is
        raise InvalidImage(f"the image is damaged: {error}") from error


def _unread(data: bytes) -> str | None:
    """Name a file of an accepted format that is of a kind Pillow does not open; else None."""
    kind = tiff.unopened(data)
    if kind is not None:
        return f"a TIFF {kind}"
    bits = _jpeg_bits(data)
    return f"a JPEG of {bits} bits a sample" if bits in (12, 16) else None


def _jpeg_bits(data: bytes) -> int | None:
    """Return the depth of a JPEG's samples; None if its header does not give it."""
    at = 2
    while data[:2] == b"\xff\xd8" and data[at : at + 1] == b"\xff" and at + 5 < len(data):
        if data[at + 1] in _FRAMES:
            return data[at + 4]
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None


def _formats(data: bytes) -> tuple[str, ...]:
    """What Pillow may try: HEIC's decoder is loaded only for bytes that say they are HEIC."""
    brands = _brands(data)
    if not brands & _HEIC_BRANDS and (not brands & _ANY_CODEC_BRANDS or brands & _AVIF_BRANDS):
        return FORMATS
    try:
        import pillow_heif
    except ImportError as error:
        raise UnsupportedFormat(
            "this is a HEIC photo, which is read only where pillow-heif is installed"
            f" (pip install 'captioner[heic]'); accepted: {_list()}"
        ) from error
    pillow_heif.register_heif_opener(thumbnails=True)  # `draft` picks one
    return (*FORMATS, "HEIF")


def _brands(data: bytes) -> set[bytes]:
    """The codes of what is inside an ISO media file; none if it is no such file."""
    if data[4:8] != b"ftyp":
        return set()
    end = min(int.from_bytes(data[:4], "big"), len(data), 256)
    return {data[8:12], *(data[i : i + 4] for i in range(16, end, 4))}


def _check_limits(image: Image.Image, data: bytes) -> None:
    width, height = image.size
    most = MAX_PIXELS_OF.get(_name(image), MAX_PIXELS)
    if width * height > most:
        raise InvalidImage(
            f"the image has {width} x {height} pixels; at most {most:,} are accepted"
        )
    if max(width, height) > MAX_SIDE:
        raise InvalidImage(f"the image has {width} x {height} pixels; a side may have {MAX_SIDE:,}")
    if image.mode == "F":
        raise InvalidImage("images of floating-point numbers are not supported; save it as 8 bits")
    kind = tiff.unsupported(image) if image.format == "TIFF" else None
    if kind is not None:
        raise UnsupportedFormat(f"this is a TIFF {kind}, which is not read; {tiff.ADVICE}")
    if image.format == "TIFF" and _strip_bytes(image) > MAX_STRIP:
        raise InvalidImage(f"the image has strips or tiles of over {MAX_STRIP:,} bytes")
    scans = _scans(data) if _name(image) == "JPEG" else 1
    if scans * width * height > MAX_VISITS:
        raise InvalidImage(f"the image has {scans} scans, too many for its size")


def _scans(jpeg: bytes) -> int:
    """Of a JPEG, at most; by numpy, which takes a quarter of the time that ``bytes.count`` does."""
    content = np.frombuffer(jpeg, np.uint8)
    return int(np.count_nonzero((content[:-1] == 0xFF) & (content[1:] == 0xDA)))


def _strip_bytes(tiff: Image.Image) -> int:
    """Of a strip or tile of a TIFF, unpacked; a small image may claim a huge one."""
    tags: Any = tiff.tag_v2  # type: ignore[attr-defined]
    height = int(tags[ExifTags.Base.ImageLength])
    width = int(tags.get(ExifTags.Base.TileWidth, tags[ExifTags.Base.ImageWidth]))
    rows = int(tags.get(ExifTags.Base.TileLength, 0)) or min(
        int(tags.get(ExifTags.Base.RowsPerStrip, height)), height
    )
    samples = int(tags.get(ExifTags.Base.SamplesPerPixel, 1))
    return width * rows * samples * max(map(int, tags.get(ExifTags.Base.BitsPerSample, (1,)))) // 8


def _orientation(image: Image.Image) -> int:
    """EXIF's, 1..8; a photo whose EXIF cannot be read is taken to be upright."""
    try:
        orientation = int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # as Pillow's decoders
        return 1
    return orientation if orientation in _TURNS else 1


def _name(image: Image.Image) -> str:
    """Its format, in the words of `accepted`."""
    name = image.format or ""
    return {"MPO": "JPEG", "HEIF": "HEIC"}.get(name, name)


def _list() -> str:
    return ", ".join(accepted())
