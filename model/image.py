"""Bytes of a photo -> RGB -> tensor. The only preprocessing: training and serving share it."""

from __future__ import annotations

import importlib.util
import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import ExifTags, Image, UnidentifiedImageError

# Raster formats whose decoders are memory-safe enough to meet strangers' bytes; never EPS, PSD, ...
# HEIC comes on top where pillow-heif is installed.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF")
# Known from the header, before memory is spent: 100 million pixels are 400 MB in Pillow. Of the
# newer formats half, because their decoders hold a photo several times over.
MAX_PIXELS = 100_000_000
MAX_PIXELS_OF = {"WEBP": MAX_PIXELS // 2, "AVIF": MAX_PIXELS // 2, "HEIC": MAX_PIXELS // 2}
# A side's resampling weights take 16 bytes a pixel of it; no camera comes near.
MAX_SIDE = 1_000_000
# A progressive JPEG visits its pixels in each of its scans: ten are usual, thousands an attack.
MAX_VISITS = 32 * MAX_PIXELS
MAX_STRIP = 4 * MAX_PIXELS  # bytes: libtiff unpacks a strip or tile of a TIFF as a whole
BAND = 4_000_000  # pixels that are converted together

# Pillow warns of damage that it can read around, and of sizes that are checked here. Said once for
# the process: `warnings.catch_warnings` is not safe in the threads that decode.
warnings.filterwarnings("ignore", module=r"PIL\.")

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

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
    rgb = open_rgb(data, least=size * 3 // 2)
    squashed = rgb.resize((size, size), Image.Resampling.BILINEAR)
    # By numpy: torch would start threads of its own for every thread that decodes.
    return torch.from_numpy(np.ascontiguousarray(np.asarray(squashed).transpose(2, 0, 1)))


def open_rgb(data: bytes | bytearray | memoryview, least: int) -> Image.Image:
    """Decode a photo and turn it upright, in its own shape.

    Parameters
    ----------
    least
        Pixels a side that are wanted: a JPEG decodes at 1/2, 1/4 or 1/8 of its size, where that
        still has them, for a fraction of the work.

    Raises
    ------
    InvalidImage
        As `decode`.
    """
    with _opened(data) as image:
        image.draft("RGB", (least, least))
        image.load()
        turn = _TURNS.get(_orientation(image))
        rgb = _to_rgb(image)
    del image  # turning makes another copy
    return rgb if turn is None else rgb.transpose(turn)


def describe(data: bytes | bytearray | memoryview) -> ImageInfo:
    """Read a photo's header only: damage further on is not seen.

    Raises
    ------
    InvalidImage
        As `decode`.
    """
    with _opened(data) as image:
        width, height = image.size
        # Pillow gives a TIFF's size, and that alone, as it is after turning.
        if image.format != "TIFF" and _orientation(image) >= 5:
            width, height = height, width
        return ImageInfo(width, height, _name(image))


@contextmanager
def _opened(data: bytes | bytearray | memoryview) -> Iterator[Image.Image]:
    """An image whose header is read and within the limits; what fails in the block is its fault."""
    data = bytes(data)
    if not data:
        raise InvalidImage("the image is empty (0 bytes)")
    try:
        with Image.open(io.BytesIO(data), formats=_formats(data)) as image:
            _check_limits(image, data)
            yield image
    except (InvalidImage, MemoryError):
        raise
    except UnidentifiedImageError as error:
        if _brands(data) & (_HEIC_BRANDS | _AVIF_BRANDS | _ANY_CODEC_BRANDS):
            raise InvalidImage("the image is damaged: its header cannot be read") from error
        for start, kind in _OTHERS:
            if start.match(data[:8192]):
                raise UnsupportedFormat(f"this is {kind}; accepted: {_list()}") from error
        raise InvalidImage(f"not an image; accepted: {_list()}") from error
    except Image.DecompressionBombError as error:
        raise InvalidImage(f"the image has over {MAX_PIXELS:,} pixels") from error
    except Exception as error:  # Pillow's decoders raise nearly every type there is
        raise InvalidImage(f"the image is damaged: {error}") from error


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
    pillow_heif.register_heif_opener(thumbnails=False)
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


def _to_rgb(image: Image.Image) -> Image.Image:
    """Any mode to RGB: 16 bits scaled instead of clipped, transparency laid on white."""
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    rgb = Image.new("RGB", image.size, "white")
    rows = max(1, BAND // image.width)
    for top in range(0, image.height, rows):  # in bands: no third copy of the whole is made
        box = (0, top, image.width, min(top + rows, image.height))
        band = image.crop(box)
        if band.mode.startswith("I"):
            band = Image.fromarray((np.asarray(band).clip(0, 65535) // 257).astype(np.uint8))
        if band.has_transparency_data:
            band = band.convert("RGBA")
            rgb.paste(band, box, mask=band)
        else:
            rgb.paste(band, box)
    return rgb
