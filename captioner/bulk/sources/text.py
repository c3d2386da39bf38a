"""The photos that a text lists, a path or an address a line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from typing import BinaryIO

from captioner.bulk.photo import Photo, reason_of
from captioner.bulk.sources.stores import Store, store_of

ENDINGS = (".txt", ".lst")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def photos_in(store: Store, path: str) -> Iterator[Photo]:
    """Yield the photos that a text file lists; see `photos_listed`."""
    try:
        with store.open(path) as file:
            yield from photos_listed(file)
    except OSError as error:
        yield Photo.unreadable(path, reason_of(error))


def photos_listed(lines: BinaryIO) -> Iterator[Photo]:
    """Yield a photo for each line that is not empty, whatever the ending of its name.

    Paths are relative to the current folder, as they are for other commands that read a list. Bytes
    that are not UTF-8 are kept as the system's names of files have them.
    """
    for number, line in enumerate(lines):
        content = line.removeprefix(_BYTE_ORDER_MARK) if number == 0 else line
        if name := os.fsdecode(content.removesuffix(b"\n").removesuffix(b"\r")):
            yield photo_at(name)


def photo_at(path: str, name: str | None = None) -> Photo:
    """Return the photo at a path or an address, which is also its name if none is given."""
    try:
        store = store_of(path)
    except ValueError as error:
        return Photo.unreadable(name or path, str(error))
    return Photo(name or path, partial(store.read, path), store.file(path))
