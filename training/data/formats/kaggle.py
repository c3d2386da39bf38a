"""Flickr8k as Kaggle offers it: a folder with ``captions.txt``, lines of ``image,caption``.

The photos lie in ``Images/`` or ``images/``, or right in the folder; Flickr's lists of splits are
read if they are there.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

from training.data.formats.file_index import composed
from training.data.formats.flickr_splits import in_splits
from training.data.formats.listing import Listing, read_text
from training.data.problems import BAD_ROW, InvalidDataset, Problem

CAPTIONS = "captions.txt"
LAYOUT = f"a folder with {CAPTIONS}"


def recognised_by(source: Path) -> list[Path]:
    return [path for path in [source / CAPTIONS] if path.is_file()]


def read(source: Path) -> Listing:
    path = source / CAPTIONS
    header, *lines = read_text(path).split("\n")
    if header.strip() != "image,caption":
        raise InvalidDataset(f"{path}: its first line must be 'image,caption'")
    captions: dict[str, list[str]] = defaultdict(list)
    for number, line in enumerate(lines, 2):
        # Captions hold commas and are not always quoted for it. Line by line, a quote that is
        # never closed spoils no line but its own.
        try:
            row = next(csv.reader([line]), [])
        except csv.Error as error:
            yield Problem(BAD_ROW, f"{path.name} line {number}", str(error))
            continue
        if len(row) == 1:
            yield Problem(BAD_ROW, f"{path.name} line {number}", "it has no comma")
        elif row:
            captions[composed(row[0])].append(",".join(row[1:]))
    yield from in_splits(source, captions)
