"""Photos and captions in tars, as WebDataset lays them out, read in place."""

from __future__ import annotations

import re
import tarfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from training.data.listing import (
    BAD_ROW,
    DUPLICATE,
    SPLIT_FOLDERS,
    Entry,
    InvalidDataset,
    Listing,
    PhotoFolders,
    Problem,
    TarMember,
    composed,
    read_json,
)

_SPLIT_WORD = re.compile(rf"(?<![a-z])({'|'.join(SPLIT_FOLDERS)})(?![a-z])")
_PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


def webdataset(source: Path) -> Listing:
    """List the samples of tars, one after the other; a tar named after a split belongs to it.

    Raises
    ------
    InvalidDataset
        A tar is damaged or compressed.
    """
    if compressed := _compressed(source):
        raise InvalidDataset(f"{compressed[0]} is compressed; decompress it, or move it elsewhere")
    for path in tars(source):
        shard = path.relative_to(source) if source.is_dir() else Path(path.name)
        word = _SPLIT_WORD.search(shard.as_posix().lower())
        split = word.group() if word else None
        samples: dict[str, dict[str, TarMember]] = defaultdict(dict)
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
            photo = photos[0] if photos else ""
            # Keys are only certain to differ within a shard.
            name = f"{shard.as_posix()}/{key}{photo}"
            try:
                if len(photos) > 1:
                    raise ValueError(f"it has several photos, {', '.join(photos)}")
                entry = Entry.checked(PhotoFolders([]), name, _sample_captions(files), split)
                yield replace(entry, photo=files.get(photo))
            except (KeyError, TypeError, ValueError) as error:
                yield Problem.of_row(name, error)


def _sample_captions(files: dict[str, TarMember]) -> Any:
    if ".txt" in files:
        lines = files[".txt"].read_bytes().decode("utf-8-sig").splitlines()
        return [line for line in lines if line.strip()]
    if ".json" in files:
        fields = read_json(files[".json"].read_bytes())
        return fields["captions"] if "captions" in fields else [fields["caption"]]
    return []


def _members(path: Path) -> Iterator[tuple[str, TarMember | None]]:
    """The names of all but folders and hidden files; with None what is a link."""
    try:
        with tarfile.open(path, "r:") as tar:
            for info in tar:
                if info.isdir() or PurePosixPath(info.name).name.startswith("."):
                    continue
                held = TarMember(path, info.offset_data, info.size)
                yield info.name, held if info.isfile() else None
            # tarfile takes a damaged header for the end, which is a block of zeros.
            if any(TarMember(path, tar.offset, tarfile.BLOCKSIZE).read_bytes()):
                raise tarfile.ReadError(f"damaged at byte {tar.offset}")
    except (OSError, tarfile.TarError) as error:
        wanted = "it must be a whole tar that is not compressed"
        raise InvalidDataset(f"{path}: {error}; {wanted}") from error


def tars(source: Path) -> list[Path]:
    """The tar itself, or those in a folder and in its folders."""
    if source.suffix == ".tar" and source.is_file():
        return [source]
    return sorted([*source.glob("*.tar"), *source.glob("*/*.tar")])


def _compressed(source: Path) -> list[Path]:
    kinds = ("tar.gz", "tgz", "tar.bz2", "tar.xz", "tar.zst")
    patterns = (f"{folder}*.{kind}" for kind in kinds for folder in ("", "*/"))
    return sorted(path for pattern in patterns for path in source.glob(pattern))
