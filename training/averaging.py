"""Averages of weights: over the steps of one training, and over trainings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch.optim.swa_utils import AveragedModel

from model import checkpoint
from model.network import ShowAttendTell

Tensors = tuple[torch.Tensor, ...] | list[torch.Tensor]


class AveragedWeights:
    """The averaged twin of a network (Polyak averaging); with decay 0 the network itself.

    ``average = d * average + (1 - d) * weights`` after every step, where
    ``d = min(decay, (1 + step) / (10 + step))`` lets go of the random start soon.
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
        """Take in the weights after a step of the optimizer."""
        if self._average is not None:
            self._average.update_parameters(self._source)


def average_checkpoints(folders: Sequence[Path], out: Path) -> None:
    """Write the checkpoint whose weights are the mean of several checkpoints' weights.

    Of trainings that began with the same weights it is often better than each of them (Wortsman et
    al. 2022, https://arxiv.org/abs/2203.05482), and costs no more than one.

    Raises
    ------
    ValueError
        They are fewer than two, or their networks or word maps differ.
    """
    if len(folders) < 2:
        raise ValueError("name at least two checkpoints to average")
    checkpoint.check_writable(out)
    (network, word_map), *others = map(checkpoint.load, folders)
    for folder, (other, words) in zip(folders[1:], others, strict=True):
        if other.config != network.config or words != word_map:
            raise ValueError(
                f"{folder} has another network or other words than {folders[0]}: only checkpoints"
                " that began as the same one can be averaged"
            )
    parts = [each.state_dict() for each in (network, *(other for other, _ in others))]
    mean = {
        name: torch.stack([part[name].double() for part in parts]).mean(0).to(first.dtype)
        for name, first in parts[0].items()
    }
    network.load_state_dict(mean)
    names = ", ".join(f"`{folder.name}`" for folder in folders)
    card = f"# {out.name}\n\nThe mean of the weights of {names}, whose cards say what they are.\n"
    checkpoint.save(out, network, word_map, card)
