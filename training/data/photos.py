"""The photos of a dataset, each once, in an order and with splits that do not change."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from training.data.datasets import Example, TarMember


@dataclass(frozen=True)
class Photo:
    """A photo and what all of its examples say of it."""

    name: str
    photo: Path | TarMember
    captions: tuple[str, ...]
    splits: tuple[str, ...]

    def described(self) -> dict[str, Any]:
        """As it stands in ``dataset.json``."""
        return {"name": self.name, "splits": self.splits, "captions": self.captions}


def merged(examples: Iterable[Example]) -> list[Photo]:
    """Every photo once, sorted by name, so that the order of the listing does not matter."""
    photos: dict[str, Photo] = {}
    for example in examples:
        splits = (example.split,) if example.split else ()
        photo = Photo(example.name, example.photo, example.captions, splits)
        if before := photos.get(photo.name):
            captions = tuple(dict.fromkeys(before.captions + photo.captions))
            photo = replace(photo, captions=captions, splits=before.splits + splits)
        photos[photo.name] = photo
    return [photos[name] for name in sorted(photos)]


def with_validation(photos: list[Photo], seed: int, share: float) -> list[Photo]:
    """Photos with a split, some of them for validation if the source says of none that it is."""
    photos = [photo if photo.splits else replace(photo, splits=("train",)) for photo in photos]
    pool = [photo.name for photo in photos if photo.splits == ("train",)]
    if share == 0 or len(pool) < 2 or any("val" in photo.splits for photo in photos):
        return photos
    pool.sort(key=lambda name: hashlib.sha256(json.dumps([seed, name]).encode()).digest())
    chosen = set(pool[: max(1, round(share * len(pool)))])
    return [replace(photo, splits=("val",)) if photo.name in chosen else photo for photo in photos]


def source_digest(photos: Iterable[Photo]) -> str:
    """Of names, captions, splits and the places and sizes of files; no photo is read."""
    digest = hashlib.sha256()
    for photo in photos:
        held = photo.photo
        place = (held.offset, held.size) if isinstance(held, TarMember) else held.stat().st_size
        digest.update(json.dumps([place, photo.described()]).encode())
    return digest.hexdigest()
