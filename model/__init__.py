"""Show, Attend and Tell: photos in, captions out."""

from model.beam_search import DecodingOptions
from model.captioner import Caption, Captioner
from model.checkpoint import InvalidCheckpoint
from model.image import InvalidImage

__all__ = ["Caption", "Captioner", "DecodingOptions", "InvalidCheckpoint", "InvalidImage"]
