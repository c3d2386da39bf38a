"""Show, Attend and Tell: photos in, captions out.

Torch takes seconds to import, so each name is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from model.captioner import Caption, Captioner
    from model.checkpoint import InvalidCheckpoint
    from model.decoding_options import DecodingOptions
    from model.image import InvalidImage

__all__ = ["Caption", "Captioner", "DecodingOptions", "InvalidCheckpoint", "InvalidImage"]
_MODULES = {
    "Caption": "model.captioner",
    "Captioner": "model.captioner",
    "DecodingOptions": "model.decoding_options",
    "InvalidCheckpoint": "model.checkpoint",
    "InvalidImage": "model.image",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
