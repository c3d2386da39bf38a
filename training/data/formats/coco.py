"""The JSON files of COCO's captions.

``{"images": [{"id", "file_name"}], "annotations": [{"image_id", "caption"}]}``. The photos lie in
``Images/`` or ``images/`` beside the file, right beside it, or, as COCO's own, in a folder of the
file's year (``val2017`` for ``annotations/captions_val2017.json``). It says nothing of splits.
"""

from __future__ import annotations

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

LAYOUT = "a JSON file with the lists images and annotations"


def recognises(source: Path) -> bool:
    return is_json(source) and "annotations" in read_document(source)


def read(source: Path) -> Listing:
    document = read_document(source)
    if not isinstance(document.get("annotations"), list):
        raise InvalidDataset(f"{source} has no list 'annotations'; COCO's captions are in one")
    captions: dict[Any, list[str]] = defaultdict(list)
    for where, annotation in numbered("annotations", document["annotations"]):
        try:
            captions[annotation["image_id"]].append(annotation["caption"])
        except (KeyError, TypeError) as error:
            yield Problem.of_row(where, error)
    year = source.stem.rpartition("_")[2]
    of_year = [source.parent / year, source.parent.parent / year]
    folders, ids = PhotoFolders([*folders_beside(source.parent), *of_year]), set()

    def photo(image: dict[str, Any]) -> Photo:
        if image["id"] in ids:
            raise ValueError(f"another image has its id, {image['id']!r}")
        ids.add(image["id"])
        texts = captions.pop(image["id"], [])
        return checked_photo(image["file_name"], texts, None, folders)

    yield from each_row(numbered("images", document["images"]), photo)
    for left in captions:
        yield Problem(BAD_ROW, f"annotations of image_id {left!r}", "no image has this id")
