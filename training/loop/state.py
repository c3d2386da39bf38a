"""What a training resumes from: states in its run folder, whole or not there at all."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import torch

from training.loop.engine import EpochSoFar

LOCK = ".lock"


@dataclass
class Standing:
    """Where a training stands."""

    stage: int = 0
    epoch: int = 1  # of the stage, from 1
    so_far: EpochSoFar = field(default_factory=EpochSoFar)
    best: float = -1.0  # CIDEr, over all stages
    since_best: int = 0  # epochs, of the stage
    rate_factor: float = 1.0  # of the decay schedule
    rows: list[dict[str, Any]] = field(default_factory=list)  # one an epoch, as in metrics.jsonl

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        return cls(**values | {"so_far": EpochSoFar(**values["so_far"])})


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep every other training out of a run folder; the lock goes with the process.

    Raises
    ------
    ValueError
        Another process holds it; names that process.
    """
    with open(folder / LOCK, "a+") as file:
        try:
            # POSIX's kind: processes that load photos do not inherit it, and so do not hold it
            # for a moment longer than a training that is killed.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:  # EAGAIN or EACCES, says POSIX
            file.seek(0)
            raise ValueError(
                f"{folder} is in use by another training, process {file.read() or 'unknown'};"
                " wait for it, or choose another --run and --out"
            ) from error
        except OSError:
            pass  # a file system that knows no locks
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def save(folder: Path, standing: Standing, parts: dict[str, Any], keep: int) -> None:
    """Write a state and drop all but the newest ``keep``.

    Parameters
    ----------
    parts
        State dictionaries, tensors and plain values.

    Raises
    ------
    ValueError
        It cannot be written, as on a full disk; the states before it stay.
    """
    name = f"state-{standing.stage}-{standing.epoch:04d}-{standing.so_far.batches:06d}.pt"
    new = folder / f".{name}.new"
    try:
        with open(new, "wb") as file:
            torch.save({"standing": standing.to_dict(), **parts}, file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(folder / name)
    except (OSError, RuntimeError) as error:  # torch's own, of a full disk
        new.unlink(missing_ok=True)
        free = shutil.disk_usage(folder).free
        raise ValueError(
            f"{folder / name} cannot be written, {free:,} bytes are free there ({error}); make"
            " room, and --resume goes on from the state before it"
        ) from error
    killed = folder.glob(".state-*.new")  # while writing
    for old in (*states(folder)[:-keep], *killed):
        old.unlink()


def states(folder: Path) -> list[Path]:
    """Oldest first."""
    return sorted(folder.glob("state-*.pt"))


def load_latest(folder: Path) -> tuple[Standing, dict[str, Any]] | None:
    """The newest state, on the CPU; `None` if there is none.

    Raises
    ------
    ValueError
        It cannot be read; names the file.
    """
    found = states(folder)
    if not found:
        return None
    try:
        # Tensors and plain values only: a state runs no code.
        parts = torch.load(found[-1], map_location="cpu", weights_only=True)
        return Standing.from_dict(parts.pop("standing")), parts
    except Exception as error:
        raise ValueError(
            f"{found[-1]} cannot be read ({error}); delete it to resume from the state before it"
        ) from error


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    """Of the generators that dropout draws from."""
    found = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        found["cuda"] = torch.cuda.get_rng_state(device)
    return found


def set_random_state(values: dict[str, torch.Tensor], device: torch.device) -> None:
    """Go back to what `random_state` gave."""
    torch.set_rng_state(values["cpu"])
    if device.type == "cuda" and "cuda" in values:
        torch.cuda.set_rng_state(values["cuda"], device)
