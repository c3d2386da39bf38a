"""Locks that end with the processes that hold them, however those end."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(path: Path, refusal: str) -> Iterator[int]:
    """Hold a lock file, and yield its descriptor.

    A process that is started with the descriptor holds the lock too: until the block ends and
    every such process has ended.

    Raises
    ------
    ValueError
        Another process holds it; ``refusal`` is the message.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(refusal) from error
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def locked_folder(folder: Path, name: str, refusal: str) -> Iterator[int]:
    """Hold a lock file of this name in a folder, which is made if it is missing.

    If the block fails, a folder that was made for it and holds nothing else goes again.

    Raises
    ------
    ValueError
        As `locked`, or a file stands where the folder would.
    """
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise ValueError(f"{folder} cannot be a folder: a file is in its place") from error
    with locked(folder / name, refusal) as descriptor:
        try:
            yield descriptor
        except BaseException:
            if made and [each.name for each in folder.iterdir()] == [name]:
                (folder / name).unlink()
                folder.rmdir()
            raise


def is_locked(path: Path) -> bool:
    """Whether a process holds a lock file."""
    try:
        with open(path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
