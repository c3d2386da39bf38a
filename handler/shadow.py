"""Copies of what a version answered, for a deploy that asks the next version the same.

A deploy makes the spool, a folder beside the archives, and removes it in the end; without it
nothing is copied. The answers are made before, and nothing that happens here changes them.
"""

from __future__ import annotations

import json
import logging
import os
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

if TYPE_CHECKING:
    from handler.options import RequestOptions

logger = logging.getLogger(__name__)

VARIABLE = "CAPTIONER_SHADOW"  # tells a worker where the spool is, when there is one
FOLDER = ".shadow"  # the spool's name in a model store
SETTINGS = "settings.json"
ENDING = ".copy"
MOST_COPIES = 64
MOST_BYTES = 256 * 2**20  # of all copies that wait


class Answered(NamedTuple):
    """A photo that was captioned."""

    photo: bytes
    options: RequestOptions
    caption: str  # the best


@dataclass(frozen=True)
class Settings:
    """What a deploy wants copied."""

    version: str  # whose answers: the next version is asked the same, and that is no traffic
    share: float  # of the photos, 0..1
    until: float  # Unix time
    most: int = MOST_COPIES  # that wait; what is answered meanwhile is not copied

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Raises `ValueError` if that is no spool's."""
        path = folder / SETTINGS
        try:
            return cls(**json.loads(path.read_bytes()))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path} is damaged: {error}") from error

    def to_bytes(self) -> bytes:
        return json.dumps(asdict(self)).encode()


@dataclass(frozen=True)
class Copy:
    """A photo in the spool: what was asked and what came of it."""

    photo: bytes
    options: dict[str, Any]  # for the search, where the caller's are not the version's own
    caption: str
    milliseconds: float  # in the handler, of the batch that it was in
    batch: int  # photos in it

    @classmethod
    def read(cls, path: Path) -> Self:
        """Raises `ValueError` if it is none."""
        told, _, photo = path.read_bytes().partition(b"\n")
        try:
            return cls(photo=photo, **json.loads(told))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path} is no copy of an answer: {error}") from error

    def write(self, folder: Path) -> None:
        """In one step, for its owner only; not synced, as it is gone in a moment."""
        told = {name: value for name, value in vars(self).items() if name != "photo"}
        descriptor, name = tempfile.mkstemp(prefix=".", dir=folder)
        new = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(json.dumps(told).encode() + b"\n")
                file.write(self.photo)
            new.rename(folder / f"{new.name[1:]}{ENDING}")
        finally:
            new.unlink(missing_ok=True)


class Shadow:
    """One worker's side of the spool.

    Parameters
    ----------
    folder
        The spool, which need not be there; None if no deploy ever makes one.
    version
        The worker's own.
    defaults
        The options of a request that asks for nothing.
    chance, now
        In place of `random.random` and of `time.time`.
    """

    def __init__(
        self,
        folder: Path | None,
        version: str,
        defaults: RequestOptions,
        chance: Callable[[], float] = random.random,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._folder, self._version = folder, version
        self._defaults = asdict(defaults.decoding)
        self._chance, self._now = chance, now
        self._seen: tuple[int, int] | None = None  # the settings' file
        self._settings: Settings | None = None
        self._failed = False

    @classmethod
    def of_environment(cls, version: str, defaults: RequestOptions) -> Self:
        named = os.environ.get(VARIABLE)
        return cls(Path(named) if named else None, version, defaults)

    def offer(self, answered: Sequence[Answered], seconds: float, batch: int) -> None:
        """Copy a share of what one batch answered, chosen at random; raises nothing.

        A photo that was to be explained counts like any other: its caption is searched for in the
        same way. Where no deploy waits for copies this costs looking for one file.

        Parameters
        ----------
        answered
            Those that were captioned; errors are left out.
        seconds
            What the batch took in the handler.
        batch
            Photos in it.
        """
        try:
            settings = self._current()
            if settings is None or self._folder is None:
                return
            for each in answered:
                if self._chance() >= settings.share:
                    continue
                if not _has_room(self._folder, settings.most, len(each.photo)):
                    return
                asked = asdict(each.options.decoding).items()
                options = {name: value for name, value in asked if value != self._defaults[name]}
                taken = round(1e3 * seconds, 3)
                Copy(each.photo, options, each.caption, taken, batch).write(self._folder)
        except FileNotFoundError:
            return  # the deploy has just ended
        except Exception as error:  # whatever it is, it is no reason to lose an answer
            if not self._failed:
                logger.warning("answers are not copied for the deploy under way: %s", error)
            self._failed = True

    def _current(self) -> Settings | None:
        """What is to be copied now; read anew only if the file is another."""
        if self._folder is None:
            return None
        try:
            found = (self._folder / SETTINGS).stat()
        except FileNotFoundError:
            return None
        seen = (found.st_ino, found.st_mtime_ns)
        if seen != self._seen:
            self._seen, self._settings, self._failed = seen, None, False
            self._settings = Settings.read(self._folder)
        known = self._settings
        if known is None or known.version != self._version or self._now() >= known.until:
            return None
        return known


def _has_room(folder: Path, most: int, more: int) -> bool:
    """Whether the spool may take so many bytes more: its reader may be slow, or dead."""
    sizes = []
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                sizes.append(entry.stat().st_size)
            except FileNotFoundError:  # read just now
                continue
    return len(sizes) - 1 < most and sum(sizes) + more <= MOST_BYTES  # one is the settings
