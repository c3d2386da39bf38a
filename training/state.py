"""What a training resumes from: states in its run folder, whole or not there at all."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import torch

from training.engine import EpochSoFar


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


def save(folder: Path, standing: Standing, parts: dict[str, Any], keep: int) -> None:
    """Write a state and drop all but the newest ``keep``.

    Parameters
    ----------
    parts
        State dictionaries, tensors and plain values.
    """
    name = f"state-{standing.stage}-{standing.epoch:04d}-{standing.so_far.batches:06d}.pt"
    new = folder / f".{name}.new"
    with open(new, "wb") as file:
        torch.save({"standing": standing.to_dict(), **parts}, file)
        file.flush()
        os.fsync(file.fileno())
    new.replace(folder / name)
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
