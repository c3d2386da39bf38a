"""Flickr8k as first published: a folder with ``Flickr8k.token.txt``.

Its lines are ``file.jpg#0<TAB>caption``. The photos lie in ``Images/``, ``images/`` or
``Flicker8k_Dataset/``, or right in the folder; Flickr's lists of splits are read if they are there.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from training.data.formats.file_index import composed
from training.data.formats.flickr_splits import in_splits
from training.data.formats.listing import Listing, read_text
from training.data.problems import BAD_ROW, Problem

CAPTIONS = "Flickr8k.token.txt"
LAYOUT = f"a folder with {CAPTIONS}"


def recognised_by(source: Path) -> list[Path]:
    return [path for path in [source / CAPTIONS] if path.is_file()]


def read(source: Path) -> Listing:
    path = source / CAPTIONS
    captions: dict[str, list[str]] = defaultdict(list)
    for number, line in enumerate(read_text(path).split("\n"), 1):
        key, *texts = line.split("\t")
        if len(texts) == 1:
            captions[composed(re.sub(r"#\d+$", "", key))].append(texts[0])
        elif line.strip():
            reason = f"it has {len(texts)} tabs, not one" if texts else "it has no tab"
            yield Problem(BAD_ROW, f"{path.name} line {number}", reason)
    yield from in_splits(source, captions)
