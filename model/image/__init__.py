"""Bytes of a photo -> RGB -> tensor: the only preprocessing, which training and serving share."""

from model.image.decoding import DECODING_VERSION, decode, open_rgb
from model.image.errors import InvalidImage, UnsupportedFormat
from model.image.formats import FORMATS, accepted
from model.image.header import Header, ImageInfo, describe, read_header
from model.image.limits import MAX_PIXELS, MAX_PIXELS_OF

__all__ = [
    "DECODING_VERSION",
    "FORMATS",
    "MAX_PIXELS",
    "MAX_PIXELS_OF",
    "Header",
    "ImageInfo",
    "InvalidImage",
    "UnsupportedFormat",
    "accepted",
    "decode",
    "describe",
    "open_rgb",
    "read_header",
]
