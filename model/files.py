"""Writing files and folders that appear whole or not at all."""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def check_new(path: Path, overwrite: bool = False) -> None:
    """Check, before any work, that a file can be written; nothing is left behind.

    Raises
    ------
    ValueError
        Something has that name and ``overwrite`` is not given, or it is a folder, or no file can
        be made there.
    """
    if path.is_dir():
        raise ValueError(f"{path} is a folder; name a file")
    if path.exists() and not overwrite:
        raise ValueError(
            f"{path} is there already; add --overwrite to replace it, or choose another name"
        )
    check_place(path)


def check_place(path: Path) -> None:
    """Check that a file or folder of this name can be made, by making another one beside it.

    Missing folders would be made too, so the nearest one that exists is tried.

    Raises
    ------
    ValueError
        Names the path, the folder at fault and the system's reason.
    """
    if path.name in ("", ".."):
        raise ValueError(f"{path} has no name of its own; name the file or folder to write")
    folder = next(parent for parent in path.absolute().parents if os.path.lexists(parent))
    try:
        Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=folder)).rmdir()
    except OSError as error:
        raise ValueError(
            f"{path} cannot be written, because of {folder}: {error.strerror}; choose another place"
        ) from error


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Wait for a folder's lock and hold it; the lock ends with the process, however that ends."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some file systems know no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that all may read, in one step; an existing file is replaced.

    Missing folders are made. A failure leaves nothing behind; a process that is killed may leave a
    file named ``.NAME.*`` beside the path.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    new = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        new.chmod(0o644)
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
    _sync_folder(path.parent)


def replace_folder(new: Path, folder: Path) -> None:
    """Rename ``new`` to ``folder``, which lies beside it and is deleted if it exists.

    On Linux this is one step. Elsewhere a kill at the wrong moment leaves nothing of that name, but
    both folders under other names.
    """
    if not folder.exists():
        new.rename(folder)
    elif _exchange(new, folder):
        shutil.rmtree(new)
    else:
        old = new.with_name(new.name + ".old")
        folder.rename(old)
        new.rename(folder)
        shutil.rmtree(old)
    _sync_folder(folder.parent)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two names in one step, and return whether the system can do that."""
    # AT_FDCWD and RENAME_EXCHANGE of renameat2(2), which Python does not offer.
    here, swap = -100, 2
    try:
        renameat2 = ctypes.CDLL(None).renameat2
    except (AttributeError, OSError):
        return False
    return bool(renameat2(here, os.fsencode(one), here, os.fsencode(other), swap) == 0)


def _sync_folder(folder: Path) -> None:
    """Make a folder's names survive a loss of power, where the file system can promise that."""
    with suppress(OSError):  # the file is whole either way
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
