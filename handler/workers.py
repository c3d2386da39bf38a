"""How many workers a version has, as they find out by themselves.

TorchServe starts, scales and kills workers as its operator likes, and tells none of them.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


class Workers:
    """The workers of one version; each leaves its process id in the folder of its archive.

    Parameters
    ----------
    folder
        Where TorchServe unpacked the archive, once for all workers of a version. Where nothing can
        be written a worker counts itself alone.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / ".workers"
        with suppress(OSError):
            self._folder.mkdir(exist_ok=True)
            (self._folder / str(os.getpid())).touch()

    def count(self) -> int:
        """How many of them live."""
        try:
            pids = [int(path.name) for path in self._folder.iterdir()]
        except OSError:
            return 1
        return max(1, sum(map(_lives, pids)))


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:  # there is none, or it is another user's by now
        return False
    return True
