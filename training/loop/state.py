"""The state of a training, and what must not have changed when it resumes."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import torch

from training.config import TrainingConfig
from training.data.mixture import Mixture
from training.loop.epoch import EpochProgress

# Options that may change between a state and the training that resumes from it.
FREE_OPTIONS = {"device", "workers", "save_minutes", "keep", "out", "run", "data", "tensorboard"}

RandomState = dict[str, torch.Tensor]  # of the generators of one process, by the kind of device


@dataclass
class TrainerState:
    """The state of a training, apart from its tensors."""

    stage: int = 0  # index in `TrainingConfig.stages`
    epoch: int = 1  # of the stage, from 1
    progress: EpochProgress = field(default_factory=EpochProgress)  # of the epoch
    best_cider: float = -1.0  # of all stages
    epochs_since_best: int = 0  # of the stage
    decay_factor: float = 1.0  # of the decay schedule
    rows: list[dict[str, Any]] = field(default_factory=list)  # one an epoch, as in metrics.jsonl

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        return cls(**values | {"progress": EpochProgress(**values["progress"])})


def fingerprint(config: TrainingConfig, mixture: Mixture) -> str:
    """Return a text of everything that must be the same when a training resumes from a state."""
    fields = {k: v for k, v in dataclasses.asdict(config).items() if k not in FREE_OPTIONS}
    return f"{mixture.digest} {json.dumps(fields, sort_keys=True, default=str)}"


def random_state(device: torch.device) -> RandomState:
    """Return the state of the generators that dropout draws from."""
    found = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        found["cuda"] = torch.cuda.get_rng_state(device)
    return found


def set_random_state(values: RandomState, device: torch.device) -> None:
    """Go back to what `random_state` returned."""
    torch.set_rng_state(values["cpu"])
    if device.type == "cuda" and "cuda" in values:
        torch.cuda.set_rng_state(values["cuda"], device)
