"""Photos that appear in folders while they are watched, each once it is complete."""

from __future__ import annotations

import fcntl
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import NamedTuple

from captioner.bulk.engines import Engine
from captioner.bulk.photo import Photo
from captioner.bulk.reading import read_ahead
from captioner.bulk.run import Counts, Sink
from captioner.bulk.sources.folder import photos_in
from captioner.bulk.sources.listing import Listing
from captioner.bulk.sources.stores import LOCAL, is_address
from captioner.bulk.sources.text import photo_at
from model.photo_names import is_photo_name

SECONDS_UNCHANGED = 2.0  # of a photo that is complete
# How long a photo waits for a program that has it open for writing. File systems of a network may
# say that of every file.
SECONDS_OPEN = 60.0
MILLISECONDS_OF_A_STEP = 250  # between two looks at the photos that wait
MAX_PHOTOS = 1024  # that are captioned before the next look


class Stamp(NamedTuple):
    """The properties of a file that change when it is written."""

    size: int
    modified: int
    changed: int


@dataclass
class Waiting:
    """A photo that is perhaps not complete, and since when it has not changed."""

    stamp: Stamp
    since: float


def check_folders(sources: Iterable[str]) -> None:
    """Raise `ValueError` for a source that cannot be watched."""
    for source in sources:
        if is_address(source) or not Path(source).is_dir():
            raise ValueError(f"{source} is no folder of this machine; --watch watches folders")


@dataclass
class Watched:
    """The photos of folders: those that are there, and those that appear until it is stopped.

    A photo is complete when it has not changed for `SECONDS_UNCHANGED` and, where the system can
    say that, no program has it open for writing.

    Attributes
    ----------
    listing
        The folders.
    stop
        Ends everything, a round that is under way included.
    """

    listing: Listing
    stop: threading.Event = field(default_factory=threading.Event)
    _waiting: dict[str, Waiting] = field(default_factory=dict)
    _done: set[str] = field(default_factory=set)  # names of all photos that were yielded
    # The last photos that were yielded, and those of them that failed, as they were then.
    _yielded: dict[str, Stamp] = field(default_factory=dict)
    _failed: dict[str, Stamp] = field(default_factory=dict)

    def rounds(self) -> Iterator[Iterable[Photo]]:
        """Yield the photos that are there, and then, again and again, those that are complete."""
        from watchfiles import watch

        # Paths that change come as absolute ones; names of photos begin as the user wrote them.
        folders = {str(Path(source).absolute()): source for source in self.listing.sources}
        rounds = watch(
            *folders,
            watch_filter=None,
            step=50,
            rust_timeout=MILLISECONDS_OF_A_STEP,
            yield_on_timeout=True,
            stop_event=self.stop,
            recursive=self.listing.recursive,
            ignore_permission_denied=True,
        )
        next(rounds, None)  # from now on no change is missed
        # A folder that holds no photo yet is no error here.
        there = (
            photo for photo in self.listing if photo.file or photo.name not in folders.values()
        )
        yield self._until_stopped(self._complete(self._new(there)))
        for changes in rounds:
            for _, path in sorted(changes):
                for photo in self._new(self._photos_at(path, folders)):
                    if photo.file:
                        self._waiting.setdefault(photo.name, Waiting(Stamp(-1, 0, 0), 0))
            photos = (photo_at(name) for name in sorted(self._waiting))
            if ready := list(self._complete(photos))[:MAX_PHOTOS]:
                yield self._until_stopped(ready)

    def forget(self, name: str) -> None:
        """Have a photo that could not be captioned come again when it changes."""
        if (stamp := self._yielded.get(name)) is not None:
            self._failed[name] = stamp
            self._done.discard(name)

    def _new(self, photos: Iterable[Photo]) -> Iterator[Photo]:
        """Yield those photos that were not yielded before."""
        return (photo for photo in photos if photo.name not in self._done)

    def _until_stopped(self, photos: Iterable[Photo]) -> Iterator[Photo]:
        for photo in photos:
            if self.stop.is_set():
                return
            if (waiting := self._waiting.pop(photo.name, None)) is not None:
                self._yielded[photo.name] = waiting.stamp
            if len(self._yielded) > MAX_PHOTOS:
                del self._yielded[next(iter(self._yielded))]
            self._done.add(photo.name)
            yield photo

    def _complete(self, photos: Iterable[Photo]) -> Iterator[Photo]:
        """Yield the photos that are complete; the others wait, unless they are gone."""
        for photo in photos:
            try:
                if photo.file is None or self._is_complete(photo.name, photo.file):
                    yield photo
            except OSError:  # it is gone, or cannot be read; if that changes, it comes again
                self._waiting.pop(photo.name, None)

    def _is_complete(self, name: str, path: Path) -> bool:
        status, now = path.stat(), time.monotonic()
        stamp = Stamp(status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        if self._failed.get(name) == stamp:
            self._waiting.pop(name, None)
            return False
        waiting = self._waiting.get(name)
        if waiting is None or waiting.stamp != stamp:
            # The clock of the files may be that of another machine; it counts only for old ones.
            age = time.time() - max(status.st_mtime, status.st_ctime)
            waiting = Waiting(stamp, now - max(0, age))
            self._waiting[name] = waiting
        unchanged = now - waiting.since
        return unchanged >= SECONDS_UNCHANGED and (
            unchanged >= SECONDS_OPEN or not _is_being_written(path)
        )

    def _photos_at(self, path: str, folders: dict[str, str]) -> Iterator[Photo]:
        """Yield the photo at a path that has changed, or all photos of a new folder."""
        for top, source in folders.items():
            below = PurePath(path).parts[len(PurePath(top).parts) :]
            if not PurePath(path).is_relative_to(top) or not below:
                continue
            if any(part.startswith(".") for part in below):
                continue
            name = LOCAL.join(source, "/".join(below))
            if not Path(path).is_dir():
                yield from [photo_at(name)] if is_photo_name(path) else []
            elif self.listing.recursive:
                yield from photos_in(LOCAL, name)


def caption_watched(watched: Watched, engine: Engine, sink: Sink) -> Counts:
    """Caption photos as they appear and write their rows, until the watching is stopped."""
    for photos in watched.rounds():
        for row in engine.rows(read_ahead(sink.unwritten(photos))):
            sink.write(row)
            if row.failed:
                watched.forget(row.photo)
        sink.flush()
    return sink.finish()


class StopSignals:
    """A context in which SIGINT and SIGTERM set an event; a second one interrupts.

    SIGIO, which the system may send for `_is_being_written`, is ignored.
    """

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop

    def __enter__(self) -> None:
        self._before = {signal.SIGIO: signal.signal(signal.SIGIO, signal.SIG_IGN)}
        for number in (signal.SIGINT, signal.SIGTERM):
            # A shell makes its background jobs ignore SIGINT; that must stay so.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._on_signal)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, *_: object) -> None:
        if self._stop.is_set():
            raise KeyboardInterrupt
        self._stop.set()


def _is_being_written(path: Path) -> bool:
    """Return whether a program has a file open for writing; False where that cannot be known.

    Linux gives a lease for reading only on a file that nobody has open for writing (fcntl(2)).
    """
    if not hasattr(fcntl, "F_SETLEASE"):
        return False
    with open(path, "rb") as file:  # closing it gives the lease back
        try:
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        except BlockingIOError:
            return True
        except OSError:
            pass  # the file is another user's, or its file system knows no leases
    return False
