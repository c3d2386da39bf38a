"""The lists of Flickr8k that say which photo is in which split."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from training.data.formats.file_index import composed
from training.data.formats.folders import PhotoFolders, folders_beside
from training.data.formats.listing import Listing, checked_photo, each_row, read_text

_LISTS = {name: f"Flickr_8k.{name}Images.txt" for name in ("train", "dev", "test")}


def in_splits(folder: Path, captions: Mapping[str, list[str]]) -> Listing:
    """Yield the photos of the lists in their order, then those that are in no list.

    Parameters
    ----------
    captions
        The captions of each photo, by its composed name.
    """
    folders = PhotoFolders(folders_beside(folder))
    rows: list[tuple[str, str | None]] = []
    for split, name in _LISTS.items():
        if (path := folder / name).is_file():
            names = (composed(line.strip()) for line in read_text(path).split("\n"))
            rows += [(name, split) for name in names if name]
    listed = {name for name, _ in rows}
    rows += [(name, None) for name in captions if name not in listed]
    return each_row(
        ((name, (name, split)) for name, split in rows),
        lambda row: checked_photo(row[0], captions.get(row[0], []), row[1], folders),
    )
