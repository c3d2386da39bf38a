"""All photos of the sources that a user names, listed as they are wanted."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from captioner.bulk.photo import Photo, reason_of
from captioner.bulk.sources import folder, parquet, tar, text
from captioner.bulk.sources.stores import Store, is_address, store_of

STANDARD_INPUT = "-"


@dataclass(frozen=True)
class Listing:
    """The photos of some sources, in the same order whenever they are listed.

    Attributes
    ----------
    sources
        Files, folders, tars, tables and lists of photos, by their paths or addresses; ``-`` is a
        list on standard input.
    recursive
        Whether the photos in the folders of a folder are listed too.
    image_column
        The column of Parquet tables that holds the photos; None finds it by its name.
    """

    sources: Sequence[str]
    recursive: bool = True
    image_column: str | None = None

    def check(self) -> None:
        """Raise `ValueError` for what would be wrong with every photo of a source."""
        if self.sources.count(STANDARD_INPUT) > 1:
            raise ValueError("standard input (-) is named twice; it can be read once")
        for source in self.sources:
            if source != STANDARD_INPUT and _ends(source, parquet.ENDING):
                parquet.check(store_of(source), source, self.image_column)
            elif source != STANDARD_INPUT:
                store_of(source)

    def __iter__(self) -> Iterator[Photo]:
        for source in self.sources:
            yield from self._photos_of(source)

    def count(self) -> int | None:
        """Return the number of photos; None if counting them would take long."""
        if all(_is_quick(source) for source in self.sources):
            return sum(1 for _ in self)
        return None

    def _photos_of(self, source: str) -> Iterator[Photo]:
        if source == STANDARD_INPUT:
            return text.photos_listed(sys.stdin.buffer)
        store = store_of(source)
        try:
            if store.is_folder(source):
                return folder.photos_in(store, source, self.recursive)
        except OSError as error:
            return iter([Photo.unreadable(source, reason_of(error))])
        return self._photos_of_file(store, source)

    def _photos_of_file(self, store: Store, path: str) -> Iterator[Photo]:
        if _ends(path, parquet.ENDING):
            return parquet.photos_in(store, path, self.image_column)
        if _ends(path, *text.ENDINGS):
            return text.photos_in(store, path)
        if _ends(path, tar.ENDING, *tar.COMPRESSED_ENDINGS):
            return tar.photos_in(store, path)
        return iter([text.photo_at(path)])


def _ends(path: str, *endings: str) -> bool:
    return path.lower().endswith(endings)


def _is_quick(source: str) -> bool:
    slow = is_address(source) or _ends(source, parquet.ENDING, tar.ENDING)
    return source != STANDARD_INPUT and not slow
