"""Photos that nobody has captioned, for captioners to teach another one with."""

from __future__ import annotations

import logging
from pathlib import Path

from model.photo_names import PHOTO_ENDINGS, is_photo_name
from training.data.datasets import Dataset
from training.data.formats.file_index import composed
from training.data.photo import Photo
from training.data.problems import DUPLICATE, InvalidDataset, Problem

log = logging.getLogger("captioner")

FORMAT = "uncaptioned"


def read_uncaptioned(source: str | Path) -> Dataset:
    """Find the photos in a folder and in the folders within; all of them are to train on.

    Hidden files and folders are left out. Other files are counted in the log.

    Returns
    -------
    The photos, without captions, each by its path within the folder.

    Raises
    ------
    InvalidDataset
        There is no such folder, or no photo in it.
    """
    source = Path(source)
    if not source.is_dir():
        fault = "is no folder" if source.exists() else "does not exist"
        raise InvalidDataset(f"{source} {fault}; name a folder of photos")
    photos: dict[str, Photo] = {}
    problems, others = [], []
    for path in sorted(source.rglob("*")):
        inner = path.relative_to(source)
        if any(part.startswith(".") for part in inner.parts) or not path.is_file():
            continue
        name = composed(inner.as_posix())
        if not is_photo_name(path.name):
            others.append(name)
        elif name in photos:
            problems.append(Problem(DUPLICATE, name, "in another form of Unicode"))
        else:
            photos[name] = Photo(name, (), ("train",), path)
    if not photos:
        endings = ", ".join(sorted(PHOTO_ENDINGS))
        raise InvalidDataset(f"{source} holds no file that is named like a photo ({endings})")
    if others:
        first = ", ".join(others[:3]) + (", ..." if len(others) > 3 else "")
        log.warning("%s: %d files are not named like photos: %s", source, len(others), first)
    return Dataset(tuple(photos.values()), tuple(problems), FORMAT)
