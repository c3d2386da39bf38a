"""The number of workers of a version, which TorchServe starts, scales and kills without notice."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


class Workers:
    """The workers of one version; each writes its process id into the folder of the archive.

    Parameters
    ----------
    folder
        Where TorchServe unpacked the archive, once for all workers of a version. A worker that
        cannot write there counts itself alone.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / ".workers"
        with suppress(OSError):
            self._folder.mkdir(exist_ok=True)
            (self._folder / str(os.getpid())).touch()

    def count(self) -> int:
        """Return the number of workers that are alive, at least 1."""
        try:
            pids = [int(path.name) for path in self._folder.iterdir()]
        except OSError:
            return 1
        return max(1, sum(map(_is_alive, pids)))


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:  # no such process, or the number is another user's process by now
        return False
    return True
