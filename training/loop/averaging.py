"""Weights averaged over the steps of a training (Polyak averaging)."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch.optim.swa_utils import AveragedModel

from model.network import ShowAttendTell

Tensors = tuple[torch.Tensor, ...] | list[torch.Tensor]


class AveragedWeights:
    """A copy of a network whose weights are averaged; with decay 0 the network itself.

    ``average = d * average + (1 - d) * weights`` after every step, where
    ``d = min(decay, (1 + step) / (10 + step))`` soon forgets the random start.
    """

    def __init__(self, network: ShowAttendTell, decay: float) -> None:
        self._average: AveragedModel | None = None
        self._source = network
        if decay:

            def move(average: Tensors, weights: Tensors, step: torch.Tensor | int) -> None:
                d = min(decay, (1 + int(step)) / (10 + int(step)))
                torch._foreach_lerp_(average, weights, 1 - d)

            self._average = AveragedModel(network, multi_avg_fn=move, use_buffers=False)

    @property
    def network(self) -> ShowAttendTell:
        """The network to validate and keep."""
        if self._average is None:
            return self._source
        return cast(ShowAttendTell, self._average.module)

    def state_dict(self) -> dict[str, Any]:
        return {} if self._average is None else self._average.state_dict()

    def load_state_dict(self, values: dict[str, Any]) -> None:
        if self._average is not None:
            self._average.load_state_dict(values)

    def update(self) -> None:
        """Add the weights to the average; to be called after every step of the optimizer."""
        if self._average is not None:
            self._average.update_parameters(self._source)
