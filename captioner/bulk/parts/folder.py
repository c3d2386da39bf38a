"""The folder that holds the parts of a table: on this machine's disks, or in an object store."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, cast

from captioner.bulk.sources.stores import ArrowStore, is_address, store_of
from model.files import write_new

_OF_THIS_MACHINE = "file://"


class PartFolder(Protocol):
    """A folder whose files appear whole; ``str`` of it is the folder as the user writes it."""

    def names(self) -> list[str]:
        """Return the names of its files that are not hidden; none if it does not exist."""

    def has(self, name: str) -> bool:
        """Return whether there is a file of that name."""

    def read(self, name: str) -> bytes:
        """Return a whole file; raises `OSError`."""

    def create(self, name: str, content: bytes) -> None:
        """Write a file in one step, unless it is there already; a missing folder is made."""


class LocalFolder:
    """A folder of this machine, which may be one that several machines share."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __str__(self) -> str:
        return str(self._path)

    def names(self) -> list[str]:
        try:
            return [each.name for each in self._path.iterdir() if not each.name.startswith(".")]
        except FileNotFoundError:
            return []

    def has(self, name: str) -> bool:
        return (self._path / name).exists()

    def read(self, name: str) -> bytes:
        return (self._path / name).read_bytes()

    def create(self, name: str, content: bytes) -> None:
        self._path.mkdir(parents=True, exist_ok=True)
        write_new(self._path / name, content)


class StoreFolder:
    """A folder in an object store.

    Two processes that create a file in the same moment both write it, and one content remains.
    """

    def __init__(self, address: str) -> None:
        self._store = cast(ArrowStore, store_of(address))
        self._address = address

    def __str__(self) -> str:
        return self._address

    def names(self) -> list[str]:
        names = self._store.names(self._address)
        return [name for name in names if not name.startswith(".")]

    def has(self, name: str) -> bool:
        return self._store.is_file(self._file(name))

    def read(self, name: str) -> bytes:
        return self._store.read(self._file(name))

    def create(self, name: str, content: bytes) -> None:
        if not self.has(name):
            self._store.write(self._file(name), content)

    def _file(self, name: str) -> str:
        return self._store.join(self._address, name)


def part_folder(place: str) -> PartFolder:
    """Return the folder at a path or an address; raises `ValueError` for an unknown address."""
    if place.startswith(_OF_THIS_MACHINE):
        place = place.removeprefix(_OF_THIS_MACHINE)
    if is_address(place):
        return StoreFolder(place)
    return LocalFolder(Path(place))
