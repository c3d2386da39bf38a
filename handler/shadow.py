"""Copies of answered photos, with which a deploy compares the next version before it serves.

The copies wait in a spool, a folder in the model store. A deploy creates it and removes it at the
end; while there is no spool, nothing is copied. Photos are copied after they were answered, so
nothing that happens here changes an answer.
"""

from __future__ import annotations

import json
import logging
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

if TYPE_CHECKING:
    from handler.options import RequestOptions

logger = logging.getLogger(__name__)

VARIABLE = "CAPTIONER_SHADOW"  # environment variable with the path of the spool
FOLDER = ".shadow"  # name of the spool in a model store
SETTINGS = "settings.json"
ENDING = ".copy"
# Limits of a spool; photos that are answered while it is full are not copied.
MAX_COPIES = 64
MAX_BYTES = 256 * 2**20


class AnsweredPhoto(NamedTuple):
    """A photo of a request and the best caption that was returned for it."""

    photo: bytes
    options: RequestOptions
    caption: str


@dataclass(frozen=True)
class Settings:
    """Which answers a deploy wants copied."""

    version: str  # only its answers are copied, not those of the next version to the same photos
    share: float  # of the photos, 0..1
    until: float  # Unix time after which nothing is copied

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the settings of a spool; keys that another release wrote are ignored.

        Raises
        ------
        ValueError
            The file is damaged; the message names it.
        """
        path = folder / SETTINGS
        try:
            content = json.loads(path.read_bytes())
            return cls(**{field.name: content[field.name] for field in fields(cls)})
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{path} is damaged: {error!r}") from error

    def to_bytes(self) -> bytes:
        """Return the content of the settings file."""
        return json.dumps(asdict(self)).encode()


@dataclass(frozen=True)
class Copy:
    """A photo in the spool, how it was asked for, and the answer.

    The file holds one line of JSON, then the photo.
    """

    photo: bytes
    options: dict[str, Any]  # the decoding options that differ from the version's defaults
    caption: str
    milliseconds: float  # that its batch took in the handler
    batch: int  # number of photos in that batch

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a copy from the spool.

        Raises
        ------
        ValueError
            The file is no copy; the message names it.
        """
        line, _, photo = path.read_bytes().partition(b"\n")
        try:
            return cls(photo=photo, **json.loads(line))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path} is no copy of an answer: {error}") from error

    def write(self, folder: Path) -> None:
        """Write the copy under a new name in one step, readable by its owner only.

        It is not synced to disk: it will be read and removed in a moment.
        """
        line = {name: value for name, value in vars(self).items() if name != "photo"}
        descriptor, name = tempfile.mkstemp(prefix=".", dir=folder)
        new = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(json.dumps(line).encode() + b"\n")
                file.write(self.photo)
            new.rename(folder / f"{new.name[1:]}{ENDING}")
        finally:
            new.unlink(missing_ok=True)


class Shadow:
    """The spool as a worker sees it: copies go in while a deploy waits for them.

    Parameters
    ----------
    folder
        The spool, which need not exist; None if no deploy ever makes one.
    version
        The version of the model that the worker runs.
    defaults
        The options of a request that names none.
    chance, now
        Replacements for `random.random` and `time.time`, for tests.
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
        self._seen: tuple[int, int] | None = None  # inode and time of the settings file last read
        self._settings: Settings | None = None
        self._failed = False

    @classmethod
    def from_environment(cls, version: str, defaults: RequestOptions) -> Self:
        """Use the spool that the environment variable `VARIABLE` names, if it is set."""
        path = os.environ.get(VARIABLE)
        return cls(Path(path) if path else None, version, defaults)

    def offer(self, answered: Iterable[AnsweredPhoto], seconds: float, batch: int) -> None:
        """Copy a random share of the photos that one batch answered; never raises an error.

        While no deploy waits for copies, this costs one look for the settings file.

        Parameters
        ----------
        answered
            The photos that were captioned, whether for a prediction or an explanation.
        seconds
            Time that the batch took in the handler.
        batch
            Number of photos in the batch.
        """
        try:
            settings = self._current()
            if settings is None or self._folder is None:
                return
            for each in answered:
                if self._chance() >= settings.share:
                    continue
                if not _has_room(self._folder, len(each.photo)):
                    return
                asked = asdict(each.options.decoding).items()
                options = {name: value for name, value in asked if value != self._defaults[name]}
                milliseconds = round(1e3 * seconds, 3)
                Copy(each.photo, options, each.caption, milliseconds, batch).write(self._folder)
        except FileNotFoundError:
            return  # the deploy has just ended and removed the spool
        except Exception as error:  # no error of copying may cost an answer
            if not self._failed:
                logger.warning("answers are not copied for the deploy under way: %s", error)
            self._failed = True

    def _current(self) -> Settings | None:
        """Return the settings if they ask for copies now; re-read the file only if it changed."""
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


def _has_room(folder: Path, size: int) -> bool:
    """Whether the spool may take one more copy of so many bytes; its reader may be slow or dead."""
    sizes = []
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                sizes.append(entry.stat().st_size)
            except FileNotFoundError:  # its reader has just removed it
                continue
    copies = len(sizes) - 1  # without the settings file
    return copies < MAX_COPIES and sum(sizes) + size <= MAX_BYTES
