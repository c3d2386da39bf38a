"""Ask a served captioner over HTTP, from threads or from asyncio.

Needs httpx2 and nothing else, neither torch nor the model. To install it without the captioner:
``pip install httpx2``, and in a clone of the repository ``pip install --no-deps .``.
"""

from captioner.client.asynchronous import AsyncCaptionClient
from captioner.client.base import Outcome
from captioner.client.errors import BadRequest, CaptionError, Unavailable
from captioner.client.photos import Photo
from captioner.client.replies import (
    Alternative,
    Attention,
    AttentionMap,
    PhotoInfo,
    Reply,
    ServedModel,
    Token,
)
from captioner.client.synchronous import CaptionClient

__all__ = [
    "Alternative",
    "AsyncCaptionClient",
    "Attention",
    "AttentionMap",
    "BadRequest",
    "CaptionClient",
    "CaptionError",
    "Outcome",
    "Photo",
    "PhotoInfo",
    "Reply",
    "ServedModel",
    "Token",
    "Unavailable",
]
