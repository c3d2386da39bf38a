"""Photos below some folders, found by names that are not written as their files are."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from unicodedata import normalize

from model.photo_names import is_photo_name

_MAX_GUESSES = 20  # the likeliest name is looked for this often; each time takes all names
_MIN_LIKENESS = 0.7  # of a guess, 0..1


def composed(name: str) -> str:
    """Return the name in Unicode's composed form (NFC), in which equal names are equal strings."""
    return normalize("NFC", name)


@dataclass(frozen=True)
class FoundPhoto:
    """The photo that a name stands for, or a hint at why there is none."""

    name: str  # of the photo in its dataset; as listed, or as its file's where only case differs
    file: Path | None
    hint: str = ""


class FileIndex:
    """The photos in folders and in the folders of those; hidden ones are left out.

    Parameters
    ----------
    folders
        Names are relative to one of them; the first counts where a photo is in several.
    """

    def __init__(self, folders: Iterable[Path]) -> None:
        self._names: dict[Path, str] = {}  # of every file, relative to the first folder
        self._by_name: dict[str, list[Path]] = defaultdict(list)
        self._by_base: dict[str, list[Path]] = defaultdict(list)
        self._by_stem: dict[str, list[Path]] = defaultdict(list)
        self._guesses_left = _MAX_GUESSES
        for folder in _different(folders):
            for file in files_below(folder):
                if is_photo_name(file.name):
                    self._add(file, file.relative_to(folder).as_posix())

    def _add(self, file: Path, name: str) -> None:
        if file not in self._names:
            self._names[file] = composed(name)
            base = PurePosixPath(_key(file.name))
            self._by_base[str(base)].append(file)
            self._by_stem[base.stem].append(file)
        self._by_name[_key(name)].append(file)

    def find(self, name: str) -> FoundPhoto:
        """Return the only photo that a name can stand for.

        In this order: the name in other case, with other slashes or a leading ``./``; the name in
        another folder, where of several photos with it the one counts whose folders agree best;
        and the name without its ending.
        """
        wanted = _key(name)
        same = self._by_name.get(wanted, [])
        if len(same) == 1:
            return FoundPhoto(self._names[same[0]], same[0])
        base = PurePosixPath(wanted).name
        found = same or self._by_base.get(base) or self._by_stem.get(base, [])
        nearest = same or _agreeing_best(wanted, found)
        if len(nearest) == 1:
            return FoundPhoto(name, nearest[0])
        return FoundPhoto(name, None, self._hint(base, nearest))

    def _hint(self, base: str, candidates: Sequence[Path]) -> str:
        """Return what to say of a name that stands for several photos, or for none."""
        if candidates:
            names = ", ".join(self._names[file] for file in candidates[:3])
            return f"{len(candidates)} photos can be meant: {names}"
        if self._guesses_left == 0:
            return ""
        self._guesses_left -= 1
        others = [other for other in self._by_base if _numbers(other) == _numbers(base)]
        likely = get_close_matches(base, others, 1, _MIN_LIKENESS)
        return f"the likeliest is {self._names[self._by_base[likely[0]][0]]}" if likely else ""


def files_below(folder: Path) -> Iterator[Path]:
    """Yield the files in a folder and in its folders, sorted; hidden ones are left out."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(place, name) for name in sorted(files) if not name.startswith("."))


def _different(folders: Iterable[Path]) -> list[Path]:
    """Return the folders that exist; ``Images`` and ``images`` are one on some file systems."""
    found: dict[tuple[int, int], Path] = {}
    for folder in folders:
        if folder.is_dir():
            status = folder.stat()
            found.setdefault((status.st_dev, status.st_ino), folder)
    return list(found.values())


def _key(name: str) -> str:
    """Return a name as it is compared: case, slashes and a leading ``./`` do not matter."""
    return str(PurePosixPath(composed(name).strip().replace("\\", "/"))).casefold()


def _numbers(name: str) -> list[int]:
    """Return the numbers in a name; where they differ, another photo is meant."""
    return [int(digits) for digits in re.findall(r"[0-9]+", name)]


def _agreeing_best(wanted: str, files: Sequence[Path]) -> list[Path]:
    """Return the files that have the most parts of a name in common, counted from its end."""
    counts = [_common_parts(wanted, _key(file.as_posix())) for file in files]
    return [file for file, count in zip(files, counts, strict=True) if count == max(counts)]


def _common_parts(one: str, other: str) -> int:
    """Return how many folders two paths have in common, from the file's own upwards."""
    folders, others = (PurePosixPath(path).parent.parts[::-1] for path in (one, other))
    pairs = enumerate(zip(folders, others, strict=False))
    return next((n for n, (a, b) in pairs if a != b), min(len(folders), len(others)))
