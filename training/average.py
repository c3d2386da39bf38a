"""The mean of the weights of several trainings' checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from model import checkpoint
from model.files import locked
from model.inference.rounding import rounded
from model.network import ShowAttendTell
from model.word_map import WordMap
from training.network.notices import inherited_notices
from training.reporting.model_card import LIMITS


def average(checkpoints: Sequence[Path], out: Path, command: str, overwrite: bool = False) -> None:
    """Write the checkpoint whose weights are the mean of several ones'.

    Trainings that started from the same weights, with other seeds or learning rates, often end
    where the mean of their weights is better than each of them, at the cost of one network (model
    soups, Wortsman et al. 2022, https://arxiv.org/abs/2203.05482).

    Parameters
    ----------
    command
        The command line, for the model card.
    overwrite
        Replace a checkpoint that is at ``out``.

    Raises
    ------
    InvalidCheckpoint
        One of the checkpoints cannot be read.
    ValueError
        There are fewer than two, their networks or words differ, or ``out`` cannot be written.
    """
    if len(checkpoints) < 2:
        raise ValueError("one checkpoint has no mean; give two or more")
    checkpoint.check_new(out, overwrite)
    network, word_map = mean(checkpoints)
    card = _card(out.name, checkpoints, network, command)
    out.parent.mkdir(parents=True, exist_ok=True)
    with locked(out.parent):
        checkpoint.check_new(out, overwrite)
        checkpoint.save(out, rounded(network), word_map, card)


@torch.no_grad()
def mean(checkpoints: Sequence[Path]) -> tuple[ShowAttendTell, WordMap]:
    """Return a network with the mean weights, in float32, and with all notices; and the words.

    Raises
    ------
    InvalidCheckpoint, ValueError
        As `average` does.
    """
    first, *others = checkpoints
    network, word_map = checkpoint.load(first)
    total = {name: tensor.double() for name, tensor in network.state_dict().items()}
    notices = list(inherited_notices(first))
    for folder in others:
        other, words = checkpoint.load(folder)
        if replace(other.config, notices=()) != replace(network.config, notices=()):
            raise ValueError(f"the networks of {first} and {folder} differ in {checkpoint.CONFIG}")
        if words.words != word_map.words:
            raise ValueError(f"{first} and {folder} know different words")
        for name, tensor in other.state_dict().items():
            total[name] += tensor
        notices += inherited_notices(folder)
    result = ShowAttendTell(replace(network.config, notices=tuple(dict.fromkeys(notices))))
    weights = network.state_dict()
    result.load_state_dict(
        {name: (sum_ / len(checkpoints)).to(weights[name].dtype) for name, sum_ in total.items()}
    )
    return result.eval(), word_map


def _card(name: str, checkpoints: Sequence[Path], network: ShowAttendTell, command: str) -> str:
    """Return a model card that says what was averaged and what the weights may be used for."""
    sources = [
        f"- `{folder.resolve().name}` ({checkpoint.digest(folder)})" for folder in checkpoints
    ]
    notices = [f"- {notice}" for notice in network.config.notices]
    return "\n".join(
        [
            f"# {name}",
            "",
            "Show, Attend and Tell: writes a short English caption for a photo. Its weights are the"
            " mean of those of",
            "",
            *sources,
            "",
            "whose model cards tell how they were trained.",
            "",
            "## Data",
            "",
            "What these weights may be used for:",
            "",
            *notices,
            "",
            "## Figures",
            "",
            "No figure was measured yet. `captioner evaluate` prints its scores.",
            "",
            "## Made by",
            "",
            f"    {command}",
            "",
            "## Limits",
            "",
            LIMITS,
        ]
    )
