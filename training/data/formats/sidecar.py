"""Photos with their captions in text files beside them, as trainers of LoRAs have them.

``chair.jpg`` has ``chair.txt`` (or ``chair.caption``, or ``chair.jpg.txt``), a caption a line, in
a folder and in the folders of that. A photo in ``train``, ``val`` (``validation``) or ``test`` is
in that split.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import groupby
from pathlib import Path

from model.photo_names import is_photo_name
from training.data.formats.file_index import files_below
from training.data.formats.listing import Listing, checked_photo, each_row, read_text
from training.data.photo import Photo
from training.data.problems import NO_PHOTO, Problem
from training.data.splits import SPLIT_FOLDERS

LAYOUT = "a folder of photos with a .txt of the same name beside each"
_ENDINGS = (".txt", ".caption")


def recognised_by(source: Path) -> list[Path]:
    """Return the first text that belongs to a photo."""
    for photos, texts in _folders(source):
        found = next((file for files in _captions(photos, texts).values() for file in files), None)
        if found:
            return [found]
    return []


def read(source: Path) -> Listing:
    for photos, texts in _folders(source):
        captions = _captions(photos, texts)
        rows = ((_name(source, photo), (photo, captions[photo])) for photo in photos)
        yield from each_row(rows, lambda row: _photo(source, *row))
        used = {text for files in captions.values() for text in files}
        for text in texts:
            if text not in used:
                yield Problem(NO_PHOTO, _name(source, text))


def _folders(source: Path) -> Iterator[tuple[list[Path], list[Path]]]:
    """Yield the photos and the texts of each folder that has some."""
    for _, group in groupby(files_below(source), lambda file: file.parent):
        files = list(group)
        photos = [file for file in files if is_photo_name(file.name)]
        yield photos, [file for file in files if file.suffix.lower() in _ENDINGS]


def _captions(photos: Iterable[Path], texts: Iterable[Path]) -> dict[Path, list[Path]]:
    """Return the texts of each photo; there should be one."""
    by_name: dict[str, list[Path]] = defaultdict(list)
    for text in texts:
        by_name[text.stem].append(text)
    return {photo: by_name[photo.stem] + by_name[photo.name] for photo in photos}


def _photo(source: Path, file: Path, texts: list[Path]) -> Photo:
    if len(texts) > 1:
        raise ValueError(f"it has several texts, {', '.join(text.name for text in texts)}")
    lines = [line for text in texts for line in read_text(text).splitlines() if line.strip()]
    name = _name(source, file)
    top = name.partition("/")[0]
    split = top if top in SPLIT_FOLDERS else None
    return replace(checked_photo(name, lines, split), file=file)


def _name(source: Path, file: Path) -> str:
    return file.relative_to(source).as_posix()
