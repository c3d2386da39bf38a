"""Show, Attend and Tell: photos in, captions out."""

from model.captioner import Caption, Captioner
from model.checkpoint import InvalidCheckpoint
from model.decoding_options import DecodingOptions
from model.image import InvalidImage

__all__ = ["Caption", "Captioner", "DecodingOptions", "InvalidCheckpoint", "InvalidImage"]
