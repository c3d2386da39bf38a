"""The splits of a dataset: their names, and the validation photos drawn where it has none."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from training.data.photo import Photo

SPLITS = ("train", "val", "test")
# Other names of a split; "restval" is what Karpathy's COCO calls further training photos.
SYNONYMS = {"restval": "train", "validation": "val", "valid": "val", "dev": "val"}
SPLIT_FOLDERS = (*SPLITS, *SYNONYMS)
_SPLIT_WORD = re.compile(rf"(?<![a-z])({'|'.join(SPLIT_FOLDERS)})(?![a-z])")


def canonical_split(name: Any) -> Any:
    """Return the name in `SPLITS` for any name of a split, in any case; None for an empty one."""
    name = name.strip().lower() if isinstance(name, str) else name
    return SYNONYMS.get(name, name) or None


def drawing_order(seed: int, name: str) -> bytes:
    """Return a key that sorts photos into a random order, which a seed and their names fix."""
    return hashlib.sha256(json.dumps([seed, name]).encode()).digest()


def split_in(name: str) -> str | None:
    """Return the split that a file's name has as a word, such as ``shapes-train-0``, if any."""
    word = _SPLIT_WORD.search(name.lower())
    return SYNONYMS.get(word.group(), word.group()) if word else None


def with_validation(photos: Sequence[Photo], seed: int, share: float) -> list[Photo]:
    """Return the photos with a split each, and with validation photos if the source names none.

    A photo without a split goes to training. If no photo is for validation, a share of those that
    are for training alone is drawn for it.

    Parameters
    ----------
    seed
        Which photos are drawn depends on it and on their names alone.
    share
        Share of the training photos to draw, 0..1; 0 draws none.
    """
    photos = [photo if photo.splits else replace(photo, splits=("train",)) for photo in photos]
    pool = [photo.name for photo in photos if photo.splits == ("train",)]
    if share == 0 or len(pool) < 2 or any("val" in photo.splits for photo in photos):
        return photos
    pool.sort(key=lambda name: drawing_order(seed, name))
    drawn = set(pool[: max(1, round(share * len(pool)))])
    return [replace(photo, splits=("val",)) if photo.name in drawn else photo for photo in photos]
