"""Photos found in folders by name, in whichever form of Unicode the name is written."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from unicodedata import normalize


def composed(name: str) -> str:
    """Return the name in Unicode's composed form (NFC), in which equal names are equal strings."""
    return normalize("NFC", name)


def folders_beside(folder: Path) -> list[Path]:
    """Return where photos may lie: in a folder beside the file that lists them, or right there."""
    return [*(folder / name for name in ("Images", "images", "Flicker8k_Dataset")), folder]


class PhotoFolders:
    """Folders that photos lie in; the first one that has a photo counts.

    A name may be written in another form than the file's: Unicode has a composed (NFC) and a
    decomposed one (NFD) for most letters with accents, which are the same to people.
    """

    def __init__(self, folders: Iterable[Path]) -> None:
        self._folders = list(folders)
        self._listed: dict[Path, dict[str, list[str]]] = {}

    def find(self, name: str) -> Path | None:
        """Return the photo of this name, if there is one; raises `ValueError` for several."""
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
        """Return the files of a folder, grouped by their composed names."""
        if folder not in self._listed:
            names: dict[str, list[str]] = defaultdict(list)
            for path in folder.iterdir() if folder.is_dir() else ():
                names[composed(path.name)].append(path.name)
            self._listed[folder] = names
        return self._listed[folder]
