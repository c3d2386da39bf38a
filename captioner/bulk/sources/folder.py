"""The photos in a folder and in the folders below it."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from functools import partial

from captioner.bulk.photo import Photo, reason_of
from captioner.bulk.sources.stores import Entry, Store
from model.photo_names import is_photo_name


def photos_in(store: Store, folder: str, recursive: bool = True) -> Iterator[Photo]:
    """Yield the photos of a folder in the order of their names, at each level of folders.

    Hidden files and folders are left out. Links are followed, but a folder is gone through only
    once, however many links lead to it. A folder that cannot be listed, and one that holds no photo
    at all, is yielded as a photo that cannot be read.
    """
    found = False
    for photo in _walk(store, folder, recursive):
        found = True
        yield photo
    if not found:
        below = " or below" if recursive else ""
        yield Photo.unreadable(folder, f"No photo in this folder{below}, by the endings of names")


def _walk(store: Store, top: str, recursive: bool) -> Iterator[Photo]:
    seen: set[Hashable] = set()
    # The entries that remain at each level; a loop, since folders may be nested without limit.
    levels: list[Iterator[tuple[str, bool]]] = [iter([(top, True)])]
    while levels:
        path, is_folder = next(levels[-1], ("", False))
        if not path:
            levels.pop()
        elif not is_folder:
            yield Photo(path, partial(store.read, path), store.file(path))
        else:
            try:
                if (identity := store.identity(path)) in seen:
                    continue
                seen.add(identity)
                entries = store.entries(path)
            except OSError as error:
                yield Photo.unreadable(path, reason_of(error))
                continue
            wanted = sorted(each for each in entries if _is_wanted(each, recursive))
            levels.append(_paths(store, path, wanted))


def _is_wanted(entry: Entry, recursive: bool) -> bool:
    if entry.is_folder:
        return recursive and not entry.name.startswith(".")
    return is_photo_name(entry.name)


def _paths(store: Store, folder: str, entries: list[Entry]) -> Iterator[tuple[str, bool]]:
    for entry in entries:
        yield store.join(folder, entry.name), entry.is_folder
