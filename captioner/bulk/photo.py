"""A photo that is to be captioned: its name, and how to read it when its turn comes."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn, Self


@dataclass(frozen=True)
class Photo:
    """A photo of a source.

    Attributes
    ----------
    name
        What the user calls it: its path, its address, or its place within a tar or a table.
    read
        Returns the bytes of its file; raises `OSError` if it cannot be read.
    file
        Its file on this machine; None if it is elsewhere, or within another file.
    """

    name: str
    read: Callable[[], bytes]
    file: Path | None = None

    @classmethod
    def unreadable(cls, name: str, reason: str) -> Self:
        """Return the stand-in for something that cannot be listed; reading it raises the reason."""
        return cls(name, partial(_fail, name, reason))


def _fail(name: str, reason: str) -> NoReturn:
    raise OSError(errno.EIO, reason, name)


def reason_of(error: Exception) -> str:
    """Return what an error says, on one line and without the path that stands beside it."""
    if isinstance(error, FileNotFoundError):
        return os.strerror(errno.ENOENT)  # pyarrow's own words repeat the path
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()) or type(error).__name__
