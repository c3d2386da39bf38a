"""The run folder of a training: states to resume from, the best checkpoint so far, figures."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from model.files import check_place, write_whole
from training.loop.state import TrainerState

LOCK = ".lock"


class RunFolder:
    """The files of one training while it runs; each appears whole or not at all."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.best = path / "best"  # checkpoint of the best epoch so far
        self.metrics = path / "metrics.jsonl"  # a row an epoch

    def check_place(self) -> None:
        """Raise `ValueError` if files could not be written there; change nothing."""
        check_place(self.metrics if self.path.exists() else self.path)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Make the folder and keep every other training out of it while the block runs.

        The lock goes with the process, however that ends.

        Raises
        ------
        ValueError
            Another process holds it; names that process.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with open(self.path / LOCK, "a+") as file:
            try:
                # A lock of POSIX: processes that load photos do not inherit it, and so do not hold
                # it for a moment longer than a training that is killed.
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError) as error:  # POSIX allows EAGAIN and EACCES
                file.seek(0)
                raise ValueError(
                    f"{self.path} is in use by another training, process"
                    f" {file.read() or 'unknown'}; wait for it, or choose another --run and --out"
                ) from error
            except OSError:
                pass  # some file systems have no locks
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield

    def states(self) -> list[Path]:
        """Return the files of states, oldest first."""
        return sorted(self.path.glob("state-*.pt"))

    def save_state(self, state: TrainerState, parts: dict[str, Any], keep: int) -> None:
        """Write a state, then delete all but the newest ``keep``.

        Parameters
        ----------
        parts
            State dictionaries, tensors and plain values.

        Raises
        ------
        ValueError
            It cannot be written, as on a full disk; the states before it stay.
        """
        name = f"state-{state.stage}-{state.epoch:04d}-{state.progress.batches:06d}.pt"
        new = self.path / f".{name}.new"
        try:
            with open(new, "wb") as file:
                torch.save({"trainer": state.to_dict(), **parts}, file)
                file.flush()
                os.fsync(file.fileno())
            new.replace(self.path / name)
        except (OSError, RuntimeError) as error:  # torch raises the latter for a full disk
            new.unlink(missing_ok=True)
            free = shutil.disk_usage(self.path).free
            raise ValueError(
                f"{self.path / name} cannot be written, {free:,} bytes are free there ({error});"
                " make room, and --resume goes on from the state before it"
            ) from error
        unfinished = self.path.glob(".state-*.new")  # of processes killed while writing
        for old in (*self.states()[:-keep], *unfinished):
            old.unlink()

    def load_state(self) -> tuple[TrainerState, dict[str, Any]] | None:
        """Return the newest state, its tensors on the CPU; None if there is no state.

        Raises
        ------
        ValueError
            It cannot be read; names the file.
        """
        found = self.states()
        if not found:
            return None
        try:
            # Tensors and plain values only: a state runs no code.
            parts = torch.load(found[-1], map_location="cpu", weights_only=True)
            return TrainerState.from_dict(parts.pop("trainer")), parts
        except Exception as error:
            raise ValueError(
                f"{found[-1]} cannot be read ({error}); delete it to resume from the state before"
                " it"
            ) from error

    def write_figures(self, rows: list[dict[str, Any]], tensorboard: bool) -> None:
        """Write the rows of all epochs; for TensorBoard, if asked to, that of the last one."""
        write_whole(self.metrics, "".join(json.dumps(row) + "\n" for row in rows).encode())
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter  # an extra

            with SummaryWriter(str(self.path / "tensorboard")) as board:
                for group, figures in [("", rows[-1]), *rows[-1].get("datasets", {}).items()]:
                    for name, value in figures.items():
                        if isinstance(value, float):
                            board.add_scalar(f"{group}/{name}".strip("/"), value, rows[-1]["epoch"])
