"""Where things are, in a checkout."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ROOT / "checkpoints" / "flickr8k"
MODEL_STORE = Path(os.environ.get("CAPTIONER_MODEL_STORE") or ROOT / "model_store")


def shown(path: Path) -> Path:
    """Return a path as a person here would write it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
