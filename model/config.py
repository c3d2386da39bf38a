"""The configuration of a network: its dimensions, the preprocessing of its photos, its notices."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Any

RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
TIMM_PREFIX = "timm/"
CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class ModelConfig:
    """The configuration that a network is built from; stored as ``config.json`` with its weights.

    Parameters
    ----------
    vocabulary_size
        V, the number of words in the word map, special tokens included.
    encoder
        ``resnet18``, ``34``, ``50``, ``101`` or ``152`` (torchvision), or ``timm/NAME`` for a timm
        backbone that gives a feature map.
    image_size
        Side in pixels of the square that a photo is resized to.
    encoded_size
        Side of the grid of features after adaptive pooling; ``None`` keeps the backbone's own.
    attention_size, embedding_size, hidden_size
        A, E and H.
    dropout
        Share of the hidden state that is dropped before the word layer while training, 0..1.
    image_mean, image_std
        Mean and standard deviation of red, green and blue, 0..1, as in the backbone's training.
    notices
        What the data and weights that the network learned from may be used for, a line of text
        each; empty if nothing is known. Older checkpoints have none.
    """

    vocabulary_size: int
    encoder: str = "resnet101"
    image_size: int = 256
    encoded_size: int | None = 14
    attention_size: int = 512
    embedding_size: int = 512
    hidden_size: int = 512
    dropout: float = 0.5
    image_mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    image_std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    notices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.encoder not in RESNETS and not (
            isinstance(self.encoder, str)
            and self.encoder.startswith(TIMM_PREFIX)
            and self.encoder != TIMM_PREFIX
        ):
            allowed = ", ".join(RESNETS)
            raise ValueError(f"encoder is {self.encoder!r}; allowed: {allowed} or timm/NAME")
        minima = {
            "vocabulary_size": 5,  # four special tokens and a word
            "image_size": 32,
            "attention_size": 1,
            "embedding_size": 1,
            "hidden_size": 1,
        }
        if self.encoded_size is not None:
            minima["encoded_size"] = 1
        for name, minimum in minima.items():
            value = getattr(self, name)
            if type(value) is not int or value < minimum:
                raise ValueError(f"{name} is {value!r}; it must be a whole number from {minimum}")
        if not isinstance(self.dropout, int | float) or not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout!r}; it must be from 0 to below 1")
        for name in ("image_mean", "image_std"):
            value = getattr(self, name)
            if len(value) != 3 or not all(isinstance(v, int | float) for v in value):
                raise ValueError(f"{name} is {value!r}; it must hold three numbers")
            object.__setattr__(self, name, tuple(float(v) for v in value))
        if min(self.image_std) <= 0:
            raise ValueError(f"image_std is {self.image_std!r}; each must be above 0")
        if not isinstance(self.notices, list | tuple) or not all(map(_is_line, self.notices)):
            raise ValueError(f"notices is {self.notices!r}; it must be a list of lines of text")
        object.__setattr__(self, "notices", tuple(self.notices))

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ModelConfig:
        """Build from `to_dict`'s form; every field but the notices must be there, and no other.

        Raises
        ------
        ValueError
            Names the fields that are missing, unknown or out of range.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        if missing := sorted(known - {"notices"} - values.keys()):
            raise ValueError(f"missing: {', '.join(missing)}")
        if unknown := sorted(values.keys() - known):
            raise ValueError(f"unknown: {', '.join(unknown)}; known: {', '.join(sorted(known))}")
        return cls(**values)


def _is_line(text: object) -> bool:
    """Whether it is a line of text that a terminal prints as it is."""
    return isinstance(text, str) and bool(text.strip()) and not CONTROL_CHARACTERS.search(text)
