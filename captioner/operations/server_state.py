"""The file in a server's folder that says which process serves, from where, and for whom."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import psutil

from model.files import write_whole


@dataclass(frozen=True)
class ServerState:
    """A server that was started.

    Attributes
    ----------
    pid
        The process id of TorchServe's frontend.
    temp
        The folder for its sockets and unpacked archives.
    started
        When the process was started, by `start_time`; None in files of an older release.
    created
        The same in Unix time, in files of an older release.
    store
        The model store; None in files of an older release.
    management
        The address of the management API; None in files of an older release.
    """

    pid: int
    temp: str
    started: str | None = None
    created: float | None = None
    store: str | None = None
    management: str | None = None

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Return what a file says; None if there is no such file.

        Raises
        ------
        ValueError
            The file is damaged.
        """
        try:
            return cls(**json.loads(path.read_text()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            raise ValueError(
                f"{path} is damaged ({error}); if no server runs from {path.parent}, remove it"
            ) from error

    def write(self, path: Path) -> None:
        """Write the file, or replace it."""
        write_whole(path, json.dumps(asdict(self)).encode())

    def process(self) -> psutil.Process | None:
        """Return the process of the frontend; None if it has ended."""
        try:
            process = psutil.Process(self.pid)
            # Process ids are used again, so the time of the start must be the same, too.
            if self.started is None:
                same = self.created == process.create_time()
            else:
                same = self.started == start_time(self.pid)
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except (OSError, psutil.Error):
            return None


def start_time(pid: int) -> str:
    """Return when a process was started, in a form that no change of the clock affects.

    Where the system says so (proc(5)), that is the boot and the clock ticks since then. Elsewhere
    it is the Unix time, which is another after the clock was set.

    Raises
    ------
    psutil.NoSuchProcess
        There is no such process.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return str(psutil.Process(pid).create_time())
    return f"{boot} {stat.rpartition(')')[2].split()[19]}"
