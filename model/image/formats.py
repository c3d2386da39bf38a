"""The formats that are read, and the names of other files that people send."""

from __future__ import annotations

import importlib.util
import re

from PIL import Image

from model.image import jpeg, tiff
from model.image.errors import InvalidImage, UnsupportedFormat

# Raster formats whose decoders are memory-safe enough for files from strangers; never EPS, PSD, ...
# HEIC is added where pillow-heif is installed.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF")
# Pillow's names of two formats that have another one here.
_NAMES = {"MPO": "JPEG", "HEIF": "HEIC"}

# The brands in the first box of an ISO media file, by the codec that they stand for.
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_AVIF_BRANDS = {b"avif", b"avis"}
_ANY_CODEC_BRANDS = {b"mif1", b"msf1"}

# Files that are no photos: how they start, and what they are called in the message.
_OTHER_FILES = [
    (re.compile(start, re.DOTALL | re.IGNORECASE), name)
    for start, name in (
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


def accepted() -> tuple[str, ...]:
    """Return the names of the formats that are read here."""
    return (*FORMATS, "HEIC") if importlib.util.find_spec("pillow_heif") else FORMATS


def name_of(image: Image.Image) -> str:
    """Return the format of an opened image, as `accepted` names it."""
    name = image.format or ""
    return _NAMES.get(name, name)


def formats_for_pillow(data: bytes) -> tuple[str, ...]:
    """Return the formats that Pillow may try; HEIC's decoder is loaded only for HEIC files.

    Raises
    ------
    UnsupportedFormat
        The file is HEIC and its decoder is not installed.
    """
    brands = _brands(data)
    if not brands & _HEIC_BRANDS and (not brands & _ANY_CODEC_BRANDS or brands & _AVIF_BRANDS):
        return FORMATS
    try:
        import pillow_heif
    except ImportError as error:
        raise UnsupportedFormat(
            "this is a HEIC photo, which is read only where pillow-heif is installed"
            f" (pip install 'captioner[heic]'); accepted: {', '.join(accepted())}"
        ) from error
    pillow_heif.register_heif_opener(thumbnails=True)  # `Image.draft` picks one
    return (*FORMATS, "HEIF")


def unidentified(data: bytes) -> InvalidImage:
    """Return the error for bytes that Pillow does not recognise, naming what they are if known."""
    if _brands(data) & (_HEIC_BRANDS | _AVIF_BRANDS | _ANY_CODEC_BRANDS):
        return InvalidImage("the image is damaged: its header cannot be read")
    variant = _unread_variant(data)
    if variant is not None:
        return UnsupportedFormat(f"this is {variant}, which is not read; {tiff.ADVICE}")
    for start, name in _OTHER_FILES:
        if start.match(data[:8192]):
            return UnsupportedFormat(f"this is {name}; accepted: {', '.join(accepted())}")
    return InvalidImage(f"not an image; accepted: {', '.join(accepted())}")


def _unread_variant(data: bytes) -> str | None:
    """Name a variant of an accepted format that Pillow does not open; None for anything else."""
    variant = tiff.unopened(data)
    if variant is not None:
        return f"a TIFF {variant}"
    bits = jpeg.bits_per_sample(data)
    return f"a JPEG of {bits} bits a sample" if bits in (12, 16) else None


def _brands(data: bytes) -> set[bytes]:
    """Return the brands of an ISO media file, which tell its codec; none for other files."""
    if data[4:8] != b"ftyp":
        return set()
    end = min(int.from_bytes(data[:4], "big"), len(data), 256)
    return {data[8:12], *(data[i : i + 4] for i in range(16, end, 4))}
