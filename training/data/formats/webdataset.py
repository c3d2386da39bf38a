"""Photos and captions in tars, as WebDataset lays them out, read in place.

A tar, or a folder of tars, holds ``KEY.jpg`` and ``KEY.txt`` (a caption a line) or ``KEY.json``
(``caption`` or ``captions``) for each photo. A tar belongs to the split that its name or its
folder's name contains.
"""

from __future__ import annotations

import tarfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from model.tar_members import tar_members
from training.data.formats.file_index import composed
from training.data.formats.listing import Listing, checked_photo, parse_json
from training.data.photo import TarMember
from training.data.problems import BAD_ROW, DUPLICATE, InvalidDataset, Problem
from training.data.splits import split_in

LAYOUT = "a .tar or a folder of them"
_PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")

# The files of one photo, by their suffix.
Sample = dict[str, TarMember]


def recognised_by(source: Path) -> list[Path]:
    return _tars(source)


def read(source: Path) -> Listing:
    if compressed := _compressed(source):
        raise InvalidDataset(f"{compressed[0]} is compressed; decompress it, or move it elsewhere")
    for path in _tars(source):
        shard = path.relative_to(source) if source.is_dir() else Path(path.name)
        yield from _read_tar(path, shard.as_posix())


def _read_tar(path: Path, shard: str) -> Listing:
    split = split_in(shard)
    samples: dict[str, Sample] = defaultdict(dict)
    for name, member in _members(path):
        key, dot, kind = name.rpartition(".")
        if (suffix := dot + kind.lower()) not in (*_PHOTO_SUFFIXES, ".txt", ".json"):
            continue
        key = composed(key)
        if member is None:
            reason = "it is a link; put the file itself into the tar (tar --dereference)"
            yield Problem(BAD_ROW, f"{shard}/{name}", reason)
        elif suffix in samples[key]:
            yield Problem(DUPLICATE, f"{shard}/{name}")
        else:
            samples[key][suffix] = member
    for key, files in samples.items():
        photos = [suffix for suffix in _PHOTO_SUFFIXES if suffix in files]
        suffix = photos[0] if photos else ""
        name = f"{shard}/{key}{suffix}"  # keys are only certain to differ within a tar
        try:
            if len(photos) > 1:
                raise ValueError(f"it has several photos, {', '.join(photos)}")
            photo = checked_photo(name, _captions(files), split)
            yield replace(photo, file=files.get(suffix))
        except (KeyError, TypeError, ValueError) as error:
            yield Problem.of_row(name, error)


def _captions(files: Sample) -> Any:
    if ".txt" in files:
        lines = files[".txt"].read_bytes().decode("utf-8-sig").splitlines()
        return [line for line in lines if line.strip()]
    if ".json" in files:
        fields = parse_json(files[".json"].read_bytes())
        return fields["captions"] if "captions" in fields else [fields["caption"]]
    return []


def _members(path: Path) -> Iterator[tuple[str, TarMember | None]]:
    """Yield every name but those of folders and hidden files; a link comes with None."""
    try:
        with open(path, "rb") as tar:
            for name, offset, size, is_link in tar_members(tar):
                yield name, None if is_link else TarMember(path, offset, size)
    except (OSError, tarfile.TarError) as error:
        wanted = "it must be a whole tar that is not compressed"
        raise InvalidDataset(f"{path}: {error}; {wanted}") from error


def _tars(source: Path) -> list[Path]:
    """Return the tar itself, or the tars in a folder and in the folders of that."""
    if source.suffix == ".tar" and source.is_file():
        return [source]
    paths = sorted([*source.glob("*.tar"), *source.glob("*/*.tar")])
    return [path for path in paths if path.is_file()]


def _compressed(source: Path) -> list[Path]:
    kinds = ("tar.gz", "tgz", "tar.bz2", "tar.xz", "tar.zst")
    patterns = (f"{folder}*.{kind}" for kind in kinds for folder in ("", "*/"))
    return sorted(path for pattern in patterns for path in source.glob(pattern))
