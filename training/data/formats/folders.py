"""Photos found in folders by name, in whichever way the name is written."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path, PurePosixPath

from training.data.formats.file_index import FileIndex, FoundPhoto, composed


def folders_beside(folder: Path) -> list[Path]:
    """Return where photos may lie: in a folder beside the file that lists them, or right there."""
    return [*(folder / name for name in ("Images", "images", "Flicker8k_Dataset")), folder]


class PhotoFolders:
    """Folders that photos lie in; the first one that has a photo counts.

    A name may be written in another form than the file's: Unicode has a composed (NFC) and a
    decomposed one (NFD) for most letters with accents, which are the same to people. Case, slashes
    and the folder may differ too, as long as one photo alone can be meant.
    """

    def __init__(self, folders: Iterable[Path]) -> None:
        self._folders = list(folders)
        self._listed: dict[Path, dict[str, list[str]]] = {}

    def find(self, name: str) -> FoundPhoto:
        """Return the photo of this name; raises `ValueError` for several in one folder."""
        while name.startswith("./"):
            name = name[2:]
        paths = (self._path(folder, name) for folder in self._folders)
        file = next((path for path in paths if path and path.is_file()), None)
        return FoundPhoto(name, file) if file else self._index.find(name)

    @cached_property
    def _index(self) -> FileIndex:
        """All photos in the folders; they are listed when a name is not found as it stands."""
        return FileIndex(self._folders)

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
