"""Files of photos, as the commands and the client read them."""

from __future__ import annotations

import errno
from pathlib import Path


def read_photo(path: Path) -> bytes:
    """Return the bytes of a file; raise `OSError` for anything that is no regular file."""
    # Reading a pipe or a device might never end. For a folder, reading itself raises.
    if path.exists() and not path.is_file() and not path.is_dir():
        raise OSError(errno.EINVAL, "Not a regular file", str(path))
    return path.read_bytes()
