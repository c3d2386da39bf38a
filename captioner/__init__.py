"""Captions of photos on your own machines: what a user imports.

Torch takes seconds to import and the client needs httpx2, so each name is imported when it is used.
"""

from __future__ import annotations

import importlib
from importlib import metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from captioner.client import AsyncCaptionClient, CaptionClient
    from model import Caption, Captioner, DecodingOptions, InvalidCheckpoint, InvalidImage

__all__ = [
    "AsyncCaptionClient",
    "Caption",
    "CaptionClient",
    "Captioner",
    "DecodingOptions",
    "InvalidCheckpoint",
    "InvalidImage",
]
_MODULES = {"AsyncCaptionClient": "captioner.client", "CaptionClient": "captioner.client"}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return metadata.version("captioner")
    if name in __all__:
        return getattr(importlib.import_module(_MODULES.get(name, "model")), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
