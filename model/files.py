"""Files that appear whole or not at all, and locks that end with the process that holds them."""

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
def locked(path: Path, refusal: ValueError | None = None) -> Iterator[int]:
    """Hold the lock of a file or a folder for the block, and yield its descriptor.

    The lock ends with the process that holds it, however that ends. A process that is started with
    the descriptor holds the lock too: until the block ends and every such process has ended. On a
    file system that knows no locks, nothing is held.

    Parameters
    ----------
    path
        A folder, or a file, which is made if it is missing.
    refusal
        The error to raise if another process holds the lock; None waits until the lock is free.
    """
    flags = os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT
    descriptor = os.open(path, flags, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (fcntl.LOCK_NB if refusal else 0))
        except BlockingIOError as error:
            assert refusal
            raise refusal from error
        except OSError:
            pass  # a file system that knows no locks
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def locked_folder(folder: Path, name: str, refusal: ValueError) -> Iterator[int]:
    """Hold the lock file ``name`` of a folder, which is made if it is missing; see `locked`.

    If the block fails, a folder that was made for it and holds nothing else is removed again.

    Raises
    ------
    ValueError
        A file has the folder's name, or ``refusal``: another process holds the lock.
    """
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise ValueError(
            f"{folder} cannot be a folder: a file is in its place; choose another folder"
        ) from error
    with locked(folder / name, refusal) as descriptor:
        try:
            yield descriptor
        except BaseException:
            if made and [each.name for each in folder.iterdir()] == [name]:
                (folder / name).unlink()
                folder.rmdir()
            raise


def is_locked(path: Path) -> bool:
    """Return whether a process holds the lock of a file; False if there is no such file."""
    if not path.exists():
        return False
    with open(path, "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            pass  # a file system that knows no locks
    return False


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that all may read, in one step; an existing file is replaced.

    Missing folders are made. A failure leaves nothing behind; a process that is killed may leave a
    file named ``.NAME.*`` beside the path.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _temporary(path.parent, f".{path.name}.", content) as new:
        new.replace(path)
    sync_folder(path.parent)


def write_new(path: Path, content: bytes) -> bool:
    """Write a file that all may read, in one step, and return whether it is written.

    Whatever has that name already stays as it is. A failure leaves nothing behind; a process that
    is killed may leave a file named ``.new.*`` beside the path.

    Raises
    ------
    OSError
        Names the path.
    """
    try:
        with _temporary(path.parent, ".new.", content) as new:
            written = _rename_new(new, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    sync_folder(path.parent)
    return written


@contextmanager
def _temporary(folder: Path, prefix: str, content: bytes) -> Iterator[Path]:
    """Give a file on disk that all may read, to be renamed; it is deleted if it was not."""
    descriptor, name = tempfile.mkstemp(prefix=prefix, dir=folder)
    new = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        new.chmod(0o644)
        yield new
    finally:
        new.unlink(missing_ok=True)


def _rename_new(new: Path, path: Path) -> bool:
    """Give a file its name unless that is taken, and return whether it has it."""
    try:
        path.hardlink_to(new)
        return True
    except FileExistsError:
        return False
    except OSError:  # a file system that knows no links, as of memory cards
        if os.path.lexists(path):
            return False
        new.rename(path)
        return True


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
    sync_folder(folder.parent)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two names in one step, and return whether the system can do that."""
    # AT_FDCWD and RENAME_EXCHANGE of renameat2(2), which Python does not offer.
    here, swap = -100, 2
    try:
        renameat2 = ctypes.CDLL(None).renameat2
    except (AttributeError, OSError):
        return False
    return bool(renameat2(here, os.fsencode(one), here, os.fsencode(other), swap) == 0)


def sync_folder(folder: Path) -> None:
    """Make a folder's names survive a loss of power, where the file system can promise that."""
    with suppress(OSError):  # the file is whole either way
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
