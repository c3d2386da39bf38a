"""Helpers of the tests of prepared folders: what such a folder holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from training.data.prepared import Prepared

SIZE = 16


COUNT = 40


def names(prepared: Prepared) -> list[str]:
    return [photo.name for photo in prepared.photos]


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def described(folder: Path) -> Any:
    return json.loads((folder / "dataset.json").read_text())
