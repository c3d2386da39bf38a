"""A photo's header: its format, its size when upright, and how it is to be turned."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from PIL import ExifTags, Image, UnidentifiedImageError

from model.image import jpeg
from model.image.errors import InvalidImage
from model.image.formats import formats_for_pillow, name_of, unidentified
from model.image.limits import MAX_PIXELS, check_limits
from model.image.profiles import without_profile

# The turn that brings a photo of an EXIF orientation upright; 1 is upright.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SWAPS_SIDES = 5  # orientations from here on exchange width and height
# A PNG with an orientation contains one of these.
_PNG_EXIF = (b"eXIf", b"Raw profile type exif", b"XML:com.adobe.xmp")

Data = bytes | bytearray | memoryview


class ImageInfo(NamedTuple):
    """A photo as its header describes it."""

    width: int  # pixels, of the photo turned upright
    height: int
    format: str  # "JPEG", ..., one of `accepted`


class Header(NamedTuple):
    """The part of a photo's header that determines how long decoding it takes."""

    format: str  # "JPEG", ..., one of `accepted`
    pixels: int
    scans: int  # an upper bound for a JPEG; 1 for other formats


def describe(data: Data) -> ImageInfo:
    """Read the format and the upright size from a photo's header; damage after it is not seen.

    Raises
    ------
    InvalidImage
        See `decode`.
    """
    data = bytes(data)
    with opened(data) as image:
        width, height = image.size
        # Pillow decodes the whole of a PNG to see whether EXIF comes after its pixels.
        upright = image.format == "PNG" and not any(mark in data for mark in _PNG_EXIF)
        # Pillow gives the size of a TIFF, and of no other format, as it is after turning.
        if not upright and image.format != "TIFF" and _orientation(image) >= _SWAPS_SIDES:
            width, height = height, width
        return ImageInfo(width, height, name_of(image))


def read_header(data: Data) -> Header:
    """Read what decoding a photo will cost from its header, without decoding any of it.

    Raises
    ------
    InvalidImage
        See `decode`.
    """
    data = bytes(data)
    with opened(data) as image:
        name = name_of(image)
        scans = jpeg.count_scans(data) if name == "JPEG" else 1
        return Header(name, image.width * image.height, scans)


@contextmanager
def opened(data: bytes) -> Iterator[Image.Image]:
    """Open an image, read its header and check it against the limits.

    Any error that the block raises is taken for a fault of the image, but for too little memory.

    Raises
    ------
    InvalidImage
        See `decode`.
    """
    if not data:
        raise InvalidImage("the image is empty (0 bytes)")
    try:
        readable = io.BytesIO(without_profile(data))
        with Image.open(readable, formats=formats_for_pillow(data)) as image:
            check_limits(image, data)
            yield image
    except (InvalidImage, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise unidentified(data) from error
    except Image.DecompressionBombError as error:
        raise InvalidImage(f"the image has over {MAX_PIXELS:,} pixels") from error
    except Exception as error:  # Pillow's decoders raise nearly every type there is
        raise InvalidImage(f"the image is damaged: {error}") from error


def turn_upright(image: Image.Image) -> Image.Transpose | None:
    """Return the turn that brings an image upright; None if it is upright."""
    return _TURNS.get(_orientation(image))


def _orientation(image: Image.Image) -> int:
    """Return EXIF's orientation, 1..8; 1, upright, if the EXIF cannot be read."""
    try:
        orientation = int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # Pillow's decoders raise nearly every type there is
        return 1
    return orientation if orientation in _TURNS else 1
