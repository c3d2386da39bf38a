"""What a source of captioned photos lists: photos, and rows that cannot be read as such."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from unicodedata import normalize

SPLITS = ("train", "val", "test")
# Other names of a split; "restval" is what Karpathy's COCO calls further training photos.
SPLIT_NAMES = {"restval": "train", "validation": "val", "valid": "val", "dev": "val"}
SPLIT_FOLDERS = (*SPLITS, *SPLIT_NAMES)

BAD_ROW = "row that cannot be read"
MISSING = "missing photo"
DUPLICATE = "photo listed twice"


class InvalidDataset(ValueError):
    """The source cannot be read as captioned photos; the message says what and where."""


@dataclass(frozen=True)
class TarMember:
    """A file within a tar that is not compressed, read in place."""

    path: Path
    offset: int  # bytes
    size: int  # bytes

    def read_bytes(self) -> bytes:
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            return file.read(self.size)


class PhotoFolders:
    """Folders that photos lie in, the first that has a photo counts.

    A name may be written in another form than the file's: Unicode has a composed (NFC) and a
    decomposed one (NFD) for most letters with accents, which are the same to people.
    """

    def __init__(self, folders: Iterable[Path]) -> None:
        self._folders = list(folders)
        self._listed: dict[Path, dict[str, list[str]]] = {}

    def find(self, name: str) -> Path | None:
        """The photo of this name, if there is one; raises `ValueError` if there are several."""
        paths = (self._path(folder, name) for folder in self._folders)
        return next((path for path in paths if path and path.is_file()), None)

    def _path(self, folder: Path, name: str) -> Path | None:
        if name.isascii():
            return folder / name
        for part in PurePosixPath(name).parts:
            found = [part] if part.isascii() else self._names(folder).get(composed(part), [])
            if len(found) > 1:
                raise ValueError(
                    f"{folder.name}/ holds {len(found)} files of the name {part!r}, which differ in"
                    " the form of their letters alone (Unicode's NFC and NFD); rename one"
                )
            if not found:
                return None
            folder /= found[0]
        return folder

    def _names(self, folder: Path) -> dict[str, list[str]]:
        """Return the entries of a folder by their composed names."""
        if folder not in self._listed:
            names: dict[str, list[str]] = defaultdict(list)
            for path in folder.iterdir() if folder.is_dir() else ():
                names[composed(path.name)].append(path.name)
            self._listed[folder] = names
        return self._listed[folder]


@dataclass(frozen=True)
class Entry:
    """A photo as its source lists it; ``None`` where there is no such photo or no split."""

    name: str  # composed
    photo: Path | TarMember | None
    captions: tuple[str, ...]
    split: str | None

    @classmethod
    def checked(cls, folders: PhotoFolders, name: Any, captions: Any, split: Any) -> Entry:
        """The entry of a photo in one of the folders.

        Raises
        ------
        ValueError
            Something is what no row may hold.
        """
        if not isinstance(name, str) or not name:
            raise ValueError(f"the photo's name is {name!r}")
        if not isinstance(captions, list) or not all(isinstance(text, str) for text in captions):
            raise ValueError("its captions are not all text")
        split = canonical_split(split)
        if split not in (None, *SPLITS):
            raise ValueError(f"split {split!r} is none of {', '.join(SPLITS)}")
        return cls(composed(name), folders.find(name), tuple(captions), split)


@dataclass(frozen=True)
class Problem:
    """What is wrong with a photo or a row."""

    kind: str
    name: str
    detail: str = ""

    @classmethod
    def of_row(cls, where: str, error: Exception) -> Problem:
        """The error that came of reading a row."""
        reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        return cls(BAD_ROW, where, reason)

    def __str__(self) -> str:
        return f"{self.name} ({self.detail})" if self.detail else self.name


Listing = Iterator[Entry | Problem]


def composed(name: str) -> str:
    """The name in Unicode's composed form (NFC), in which equal names are equal strings."""
    return normalize("NFC", name)


def canonical_split(name: Any) -> Any:
    """The split that has this name too; None if the name is empty."""
    return SPLIT_NAMES.get(name, name) or None


def read_json(text: str | bytes) -> Any:
    """The JSON value of a text; raises `ValueError` where an object has a key twice."""
    return json.loads(text, object_pairs_hook=_object)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"it has {next(key for key in keys if keys.count(key) > 1)!r} twice")
    return found
