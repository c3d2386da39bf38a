"""The optimizer of a stage and the learning rates of its groups."""

from __future__ import annotations

from typing import Any

import torch

from model.network import ShowAttendTell
from training.stage_options import StageOptions


def new_optimizer(options: StageOptions, network: ShowAttendTell) -> torch.optim.Optimizer:
    """Return an optimizer with a group for the decoder and, if it learns, one for the encoder.

    Each group remembers the peak of its learning rate as ``peak``.
    """
    groups: list[dict[str, Any]] = [
        {"params": list(network.decoder.parameters()), "peak": options.learning_rate}
    ]
    if learning := [p for p in network.encoder.parameters() if p.requires_grad]:
        groups.append({"params": learning, "peak": options.encoder_learning_rate})
    if options.optimizer == "adam":
        return torch.optim.Adam(groups, lr=options.learning_rate)
    return torch.optim.AdamW(groups, lr=options.learning_rate, weight_decay=options.weight_decay)


def set_learning_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set each group's learning rate to its peak times a factor of `rate_factor`."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * factor


def learning_rates(optimizer: torch.optim.Optimizer, factor: float) -> dict[str, float]:
    """Return the learning rates for such a factor, under their names in ``metrics.jsonl``."""
    names = ("learning_rate", "encoder_learning_rate")
    groups = optimizer.param_groups
    return {name: group["peak"] * factor for name, group in zip(names, groups, strict=False)}
