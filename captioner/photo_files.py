"""Files of photos, as the commands and the client read them."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

MAX_BYTES = 2**30  # of a file; a photo of 100 million pixels, not compressed, has a third of that


def read_photo(path: Path | str) -> bytes:
    """Return the bytes of a file.

    Raises
    ------
    OSError
        It cannot be read, is no regular file or too large, or changed while it was read.
    """
    # Opening a pipe would wait for a writer, and reading a device might never end.
    mode = Path(path).stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise OSError(errno.EINVAL, "Not a regular file", str(path))
    with open(path, "rb", buffering=0) as file:  # raises for a folder
        before = os.fstat(file.fileno())
        if before.st_size > MAX_BYTES:
            gibibytes = before.st_size / 2**30
            raise OSError(errno.EFBIG, f"Too large for a photo, {gibibytes:.1f} GiB", str(path))
        content = file.readall()
        after = os.fstat(file.fileno())
    if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        raise OSError(errno.EBUSY, "It changed while it was read", str(path))
    if len(content) != after.st_size:
        raise OSError(errno.EBUSY, "It changed while it was read", str(path))
    return content
