"""The JSON files of COCO's captions, one, or those of a year together.

``{"images": [{"id", "file_name"}], "annotations": [{"image_id", "caption"}]}``. The photos lie in
``Images/`` or ``images/`` beside the file, right beside it, or, as COCO's own, in a folder of the
file's split and year (``val2017`` or ``images/val2017`` for ``annotations/captions_val2017.json``).

A folder is read as all such files in it or in its ``annotations/``. The name of a file gives the
split of its photos; those of a file with another name than COCO's have none.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from training.data.formats.folders import PhotoFolders, folders_beside
from training.data.formats.listing import (
    Listing,
    checked_photo,
    each_row,
    is_json,
    numbered,
    read_document,
)
from training.data.photo import Photo
from training.data.problems import BAD_ROW, InvalidDataset, Problem

LAYOUT = "a JSON file with the lists images and annotations, or COCO's folder of them"
_NAME = re.compile(r"captions_(train|val|test)(\d{4})?")


def recognised_by(source: Path) -> list[Path]:
    if is_json(source):
        return [source] if "annotations" in read_document(source) else []
    return _files(source)


def read(source: Path) -> Listing:
    files = _files(source) if source.is_dir() else [source]
    if len({_split_and_year(path)[1] for path in files}) > 1:
        names = ", ".join(path.name for path in files)
        raise InvalidDataset(
            f"{source} holds captions of several years, {names}, which share photos; name the file"
            " to read, or move those of the other years elsewhere"
        )
    if not files:
        raise InvalidDataset(f"{source} has no captions_train2017.json or the like; name the file")
    for path in files:
        yield from _read_file(path)


def _files(folder: Path) -> list[Path]:
    """Return the captions in COCO's folder, or in its folder of annotations."""
    paths = [*folder.glob("*.json"), *folder.glob("annotations/*.json")]
    return sorted(path for path in paths if _NAME.fullmatch(path.stem))


def _split_and_year(path: Path) -> tuple[str | None, str | None]:
    """Return the split and the year in the name of a file, where there are some."""
    match = _NAME.fullmatch(path.stem)
    return (match[1], match[2]) if match else (None, None)


def _photo_folders(source: Path) -> PhotoFolders:
    """Return the folders that the photos of a file may lie in."""
    folder, outer = source.parent, source.parent.parent
    year = source.stem.rpartition("_")[2]
    of_year = [place / inner / year for place in (folder, outer) for inner in (".", "images")]
    of_all = folders_beside(outer)[:-1] if folder.name == "annotations" else []
    return PhotoFolders([*folders_beside(folder), *of_year, *of_all])


def _read_file(source: Path) -> Listing:
    document = read_document(source)
    if not isinstance(document.get("annotations"), list):
        raise InvalidDataset(f"{source} has no list 'annotations'; COCO's captions are in one")
    captions: dict[Any, list[str]] = defaultdict(list)
    for where, annotation in numbered("annotations", document["annotations"]):
        try:
            captions[annotation["image_id"]].append(annotation["caption"])
        except (KeyError, TypeError) as error:
            yield Problem.of_row(where, error)
    folders, ids, split = _photo_folders(source), set(), _split_and_year(source)[0]

    def photo(image: dict[str, Any]) -> Photo:
        if image["id"] in ids:
            raise ValueError(f"another image has its id, {image['id']!r}")
        ids.add(image["id"])
        texts = captions.pop(image["id"], [])
        return checked_photo(image["file_name"], texts, split, folders)

    yield from each_row(numbered("images", document["images"]), photo)
    for left in captions:
        yield Problem(BAD_ROW, f"annotations of image_id {left!r}", "no image has this id")
