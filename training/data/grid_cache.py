"""The files that keep grids beside prepared photos: their room on disk, and who uses them.

A cache is ``grids-DIGEST.npy`` in the folder of prepared photos. ``grids-DIGEST.json`` beside it
says which encoder made it and which trainings have used it.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from model.checkpoint import CONFIG
from model.files import write_whole

FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class GridCache:
    """One file of grids, and what its record says."""

    path: Path
    encoder: str  # name; empty if there is no record
    users: tuple[Path, ...]  # checkpoint and run folders of the trainings that have used it
    last_used: float  # seconds since 1970

    @classmethod
    def read(cls, path: Path) -> GridCache:
        """Read a cache and its record; a record that cannot be read counts as none."""
        try:
            record = json.loads(_record(path).read_text(encoding="utf-8"))
            users, encoder = tuple(map(Path, record["users"])), str(record["encoder"])
            return cls(path, encoder, users, _record(path).stat().st_mtime)
        except (OSError, ValueError, KeyError, TypeError):
            return cls(path, "", (), path.stat().st_mtime)

    @property
    def needed_by(self) -> list[Path]:
        """The users that still exist: checkpoints, and run folders to resume from."""
        return [user for user in self.users if (user / CONFIG).is_file() or _is_run(user)]

    def __str__(self) -> str:
        day = time.strftime("%Y-%m-%d", time.localtime(self.last_used))
        encoder = self.encoder or "an encoder that is not recorded"
        size = self.path.stat().st_size / 1e9
        return f"{self.path.name}  {size:.2f} GB  {encoder}, last used {day}"


def clear(data: Path, everything: bool = False) -> Iterator[str]:
    """Delete the caches of a folder of prepared photos that no checkpoint uses.

    These are the ones whose trainings have left neither a checkpoint nor a run folder. Nothing is
    lost for good: a training that needs one again computes it again.

    Parameters
    ----------
    everything
        Also delete caches that are used, and caches without a record.

    Yields
    ------
    A line for each cache after it is kept or deleted, and a line with the bytes freed.
    """
    freed = 0
    for path in sorted([*data.glob("grids-*.npy"), *data.glob("grids-*.new")]):
        with lock(path, wait=False) as free:
            if not free:
                yield f"kept     {path.name}  is being computed"
                continue
            unfinished = path.suffix == ".new"  # its training was killed
            cache = GridCache.read(path)
            if not unfinished and not everything:
                if needed := cache.needed_by:
                    yield f"kept     {cache}, by {needed[0]}"
                    continue
                if not cache.users:
                    yield f"kept     {cache}; --all deletes it"
                    continue
            freed += path.stat().st_blocks * 512
            yield f"deleted  {cache}"
            path.unlink()
            if not unfinished:
                _record(path).unlink(missing_ok=True)
    yield f"{freed / 1e9:.2f} GB freed"


def record_use(path: Path, encoder: str, users: Iterable[Path]) -> None:
    """Add users to the record of a cache; if the folder cannot be written, leave it."""
    with suppress(OSError), lock(path, wait=True):
        before = GridCache.read(path)
        known = sorted({str(user) for user in [*before.needed_by, *users]})
        content = json.dumps({"encoder": encoder, "users": known}, indent=1) + "\n"
        write_whole(_record(path), content.encode())


def reserve(path: Path, size: int) -> None:
    """Reserve the disk space of a file before it is mapped.

    Writing to a file that is mapped over a full disk would end the process by SIGBUS.

    Raises
    ------
    ValueError
        There is not enough space; says how much is needed and free, and what can be deleted.
    """
    free = shutil.disk_usage(path.parent).free
    try:
        with open(path, "r+b") as file:
            if size - path.stat().st_blocks * 512 > free:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        if error.errno not in FULL:
            return  # a file system that cannot reserve
        path.unlink()
        raise ValueError(
            f"{path.parent}: the grids of the photos take {size:,} bytes, {free:,} are free there;"
            f" 'captioner clear-grids {path.parent}' deletes grids that no checkpoint uses, with"
            " --all those of all trainings"
        ) from error


@contextmanager
def lock(path: Path, wait: bool) -> Iterator[bool]:
    """Hold the lock of a cache while the block runs; yields whether it could be had.

    It goes with the process, however that ends.
    """
    with open(path.with_suffix(".lock"), "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            free = True
        except BlockingIOError:
            free = False
        except OSError:  # some file systems have no locks
            free = True
        yield free


def _record(path: Path) -> Path:
    return path.with_suffix(".json")


def _is_run(folder: Path) -> bool:
    return any(folder.glob("state-*.pt"))
