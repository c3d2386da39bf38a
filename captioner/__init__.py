"""Captions of photos on your own machines: what a user imports.

Torch takes seconds to import and the client needs httpx2, so each name is imported when it is
first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from captioner.client import AsyncCaptionClient, CaptionClient
    from model import Caption, Captioner, DecodingOptions, InvalidCheckpoint, InvalidImage

    __version__: str

# The names that can be imported from here, and where they are.
_MODULES = {
    "AsyncCaptionClient": "captioner.client",
    "Caption": "model",
    "CaptionClient": "captioner.client",
    "Captioner": "model",
    "DecodingOptions": "model",
    "InvalidCheckpoint": "model",
    "InvalidImage": "model",
}
__all__ = [
    "AsyncCaptionClient",
    "Caption",
    "CaptionClient",
    "Captioner",
    "DecodingOptions",
    "InvalidCheckpoint",
    "InvalidImage",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib import metadata  # here, because importing it takes a while

        return metadata.version("captioner")
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
