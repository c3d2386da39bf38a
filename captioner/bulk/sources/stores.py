"""Where files lie: on this machine, or at an address such as s3://bucket/photos."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Hashable
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol, cast

from captioner.bulk.arrow import arrow_module
from captioner.photo_files import read_photo

SCHEMES = ("s3", "gs", "file")
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/]*)")
READ_AHEAD_BYTES = 2**20  # of a file that is read from its start to its end


class Entry(NamedTuple):
    """A name in a folder; entries sort by their names."""

    name: str
    is_folder: bool


class Store(Protocol):
    """A place for files. A path is as the user writes it; `OSError` says why one cannot be used."""

    def is_folder(self, path: str) -> bool:
        """Return whether there is a folder of that name; False for what does not exist."""

    def entries(self, folder: str) -> list[Entry]:
        """Return what lies in a folder, in any order."""

    def identity(self, folder: str) -> Hashable:
        """Return a value that a folder keeps by whichever path it is reached."""

    def join(self, folder: str, name: str) -> str:
        """Return the path of something in a folder."""

    def file(self, path: str) -> Path | None:
        """Return the file of this machine at a path; None in a store that is elsewhere."""

    def read(self, path: str) -> bytes:
        """Return a whole file."""

    def read_range(self, path: str, offset: int, size: int) -> bytes:
        """Return a part of a file."""

    def open(self, path: str) -> BinaryIO:
        """Open a file that can be sought in."""


class LocalStore:
    """The files of this machine."""

    def is_folder(self, path: str) -> bool:
        return Path(path).is_dir()

    def entries(self, folder: str) -> list[Entry]:
        with os.scandir(folder) as found:
            return [Entry(each.name, each.is_dir()) for each in found]

    def identity(self, folder: str) -> Hashable:
        status = Path(folder).stat()
        return status.st_dev, status.st_ino

    def join(self, folder: str, name: str) -> str:
        return f"{folder.rstrip('/')}/{name}"  # pathlib would take the ./ from a path

    def file(self, path: str) -> Path:
        return Path(path)

    def read(self, path: str) -> bytes:
        return read_photo(path)

    def read_range(self, path: str, offset: int, size: int) -> bytes:
        with open(path, "rb", buffering=0) as file:
            file.seek(offset)
            return file.read(size)

    def open(self, path: str) -> BinaryIO:
        return open(path, "rb", buffering=READ_AHEAD_BYTES)


class ArrowStore:
    """The files below one root, such as s3://bucket, through a file system of pyarrow.

    A path is taken literally, as the tools of object stores do: ``%20`` in it is no space.
    """

    def __init__(self, root: str) -> None:
        self._fs: Any = arrow_module("pyarrow.fs")
        self._root = root
        start = f"{root}/" if root == "file://" else root
        if root.startswith("s3:"):
            start += "?allow_delayed_open=true"  # a small file is one request to write, not three
        self._files: Any
        self._files, base = self._fs.FileSystem.from_uri(start)
        self._base = str(base).rstrip("/")
        # In Google's store, pyarrow finds no folder by the names of the files in it, unless the
        # files are asked for as well. Then it names every file below.
        self._deep = root.startswith("gs:")

    def is_folder(self, path: str) -> bool:
        (info,) = self._files.get_file_info([self._within(path)])
        return bool(info.type == self._fs.FileType.Directory)

    def entries(self, folder: str) -> list[Entry]:
        within, folders = self._within(folder), self._fs.FileType.Directory
        entries = set()
        for each in self._files.get_file_info(self._fs.FileSelector(within, recursive=self._deep)):
            name, _, below = str(each.path).removeprefix(f"{within}/").partition("/")
            entries.add(Entry(name, bool(below) or each.type == folders))
        return list(entries)

    def identity(self, folder: str) -> Hashable:
        return folder.rstrip("/")

    def join(self, folder: str, name: str) -> str:
        return f"{folder.rstrip('/')}/{name}"

    def file(self, path: str) -> None:
        return None

    def read(self, path: str) -> bytes:
        with self._files.open_input_stream(self._within(path), compression=None) as file:
            return bytes(file.read())

    def read_range(self, path: str, offset: int, size: int) -> bytes:
        with self._files.open_input_file(self._within(path)) as file:
            return bytes(file.read_at(size, offset))

    def open(self, path: str) -> BinaryIO:
        file = self._files.open_input_file(self._within(path))
        # Its many small reads would each be a request.
        return cast(BinaryIO, io.BufferedReader(cast(io.RawIOBase, file), READ_AHEAD_BYTES))

    def is_file(self, path: str) -> bool:
        """Return whether there is a file of that name."""
        (info,) = self._files.get_file_info([self._within(path)])
        return bool(info.type == self._fs.FileType.File)

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder, none if it does not exist."""
        selector = self._fs.FileSelector(self._within(folder), allow_not_found=True)
        return [str(each.base_name) for each in self._files.get_file_info(selector)]

    def write(self, path: str, content: bytes) -> None:
        """Write a whole file, which in an object store appears in one step."""
        with self._files.open_output_stream(self._within(path), compression=None) as file:
            file.write(content)

    def _within(self, path: str) -> str:
        return self._base + path.removeprefix(self._root).rstrip("/")


LOCAL = LocalStore()


def is_address(path: str) -> bool:
    """Return whether something is an address, such as s3://bucket/photo.jpg, and no path."""
    return _ADDRESS.match(path) is not None


def store_of(path: str) -> Store:
    """Return the store that holds a path or an address.

    Raises
    ------
    ValueError
        There is no store for such an address, or it cannot be reached.
    """
    match = _ADDRESS.match(path)
    if match is None:
        return LOCAL
    scheme, place = match.groups()
    if scheme.lower() not in SCHEMES:
        known = ", ".join(f"{each}://" for each in SCHEMES)
        host = re.split(r"[/?#]", place.rpartition("@")[2])[0]  # the rest may hold a secret
        raise ValueError(
            f"{scheme}://{host} is not read; name files of this machine, or use {known}"
        )
    if "@" in place:
        raise ValueError(
            f"{scheme}:// must be without a user and password; the environment or the"
            " configuration of the cloud's own tools names them"
        )
    return _arrow_store(f"{scheme}://{place}")


@cache
def _arrow_store(root: str) -> Store:
    """Return the store of a root; opening one may ask the network, so each is kept."""
    try:
        return ArrowStore(root)
    except OSError as error:
        raise ValueError(f"{root} cannot be opened: {error}") from error
