"""The plan of a prepared folder: its source and options. The same plan makes the same folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from model import image
from training.data.photo import Photo
from training.data.prepared import VERSION
from training.data.problems import InvalidDataset

Plan = dict[str, Any]  # as it is written to JSON


def make_plan(photos: Iterable[Photo], image_size: int, seed: int, val_share: float) -> Plan:
    """Return the plan for photos with their files, as their source lists them."""
    return {
        "version": VERSION,
        "source_digest": _digest(photos),
        "image_size": image_size,
        "decoding": image.DECODING_VERSION,
        "seed": seed,
        "val_share": val_share,
    }


def _digest(photos: Iterable[Photo]) -> str:
    """Return the SHA-256 of names, captions, splits, and of each file's size; read no file."""
    digest = hashlib.sha256()
    for photo in photos:
        file = photo.file
        assert file is not None
        place = file.stat().st_size if isinstance(file, Path) else file.place
        digest.update(json.dumps([place, photo.description()]).encode())
    return digest.hexdigest()


def require_same(out: Path, plan: Plan, found: dict[str, Any]) -> None:
    """Raise `InvalidDataset` if a folder's JSON file was written with another plan."""
    found = {"decoding": 1} | found  # the first version did not write it
    if not plan.keys() <= found.keys():
        raise InvalidDataset(f"{out} holds files of something else; choose another --out")
    for key, value in plan.items():
        if found[key] != value:
            difference = f"{key} {found[key]}, not {value}"
            if key == "source_digest":
                difference = "other photos or captions"
            if key == "decoding":
                difference = "photos as another version of the captioner decodes them"
            raise InvalidDataset(
                f"{out} was prepared with {difference}; choose another --out, or add --overwrite"
            )


def is_other(plan: Plan, found: dict[str, Any]) -> bool:
    """Return whether a JSON file holds a plan, but not this one."""
    return plan.keys() <= found.keys() and any(found[key] != plan[key] for key in plan)
