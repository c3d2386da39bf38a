"""Options of the network and of the stages of a training; their docstrings are its help.

Imports nothing heavy, like `training.config`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from model.decoding_options import DecodingOptions, options_of


def check(options: Any, limits: dict[str, tuple[float, float]]) -> None:
    """Raise `ValueError` for a field outside its lowest and highest value."""
    for name, (low, high) in limits.items():
        value = getattr(options, name)
        if not low <= value <= high:
            raise ValueError(f"{name} is {value}; it must be in {low}..{high}")


def decoding_limits(name: str) -> tuple[float, float]:
    """Return the lowest and highest value of an option of a search for captions."""
    option = options_of(DecodingOptions)[name]
    assert option.minimum is not None
    assert option.maximum is not None
    return option.minimum, option.maximum


@dataclass(frozen=True)
class NetworkOptions:
    """The parts of a new network; a checkpoint to start from has its own.

    Parameters
    ----------
    encoder
        Name of the encoder: resnet18, 34, 50, 101, 152 or timm/NAME.
    encoder_weights
        Weights that the encoder starts from: imagenet, none, or a file with its state dict.
    image_size
        Side in pixels of the square that photos are resized to; must be that of the prepared data.
    encoded_size
        Side of the grid of features; 0 keeps that of the encoder.
    attention_size
        Size of the attention layer.
    embedding_size
        Size of the word embeddings.
    hidden_size
        Size of the LSTM.
    dropout
        Share of the hidden state that is dropped before the word layer.
    """

    encoder: str = "resnet101"
    encoder_weights: str = "imagenet"
    image_size: int = 256
    encoded_size: int = 14
    attention_size: int = 512
    embedding_size: int = 512
    hidden_size: int = 512
    dropout: float = 0.5

    def __post_init__(self) -> None:
        check(self, {"encoded_size": (0, 64)})


@dataclass(frozen=True)
class StageOptions:
    """One stage of training.

    Parameters
    ----------
    epochs
        Largest number of epochs; 0 leaves the stage out.
    patience
        Number of epochs without a better CIDEr after which the stage ends.
    learning_rate
        Learning rate of the decoder at its peak.
    encoder_learning_rate
        Learning rate of the encoder's upper blocks at its peak; 0 freezes the encoder, and the
        decoder stage always does.
    optimizer
        Optimizer: adamw or adam.
    weight_decay
        Weight decay of adamw.
    schedule
        How the learning rate goes on after warm-up. cosine: falls to zero at the end of the last
        epoch. decay: is multiplied by `decay` after every `decay_after` epochs without a better
        CIDEr. constant: stays.
    warm_up
        Number of epochs, or a part of one, in which the learning rate rises to its peak.
    decay
        Factor of the decay schedule.
    decay_after
        Number of epochs without a better CIDEr before the learning rate is multiplied by `decay`.
    augment
        Change photos at random, each time in another way: crop them, flip those whose captions have
        neither the English word left nor right, and what else `colour` and `erase` say.
    crop
        Smallest share of a photo that a crop keeps.
    colour
        Strength of random changes of brightness, contrast and saturation: 0.3 multiplies each by
        0.7 to 1.3; 0 changes none, and 0.9 makes some photos almost black. Hues stay, because
        captions name colours. Needs `augment`.
    erase
        Probability that a rectangle of 2 to 20 % of a photo is filled with the photo's mean colour.
        Needs `augment`.
    input_dropout
        Share of the decoder's inputs that is dropped: of the grid of features and of the word
        embeddings.
    """

    epochs: int = 20
    patience: int = 5
    learning_rate: float = 4e-4
    encoder_learning_rate: float = 1e-4
    optimizer: Literal["adamw", "adam"] = "adamw"
    weight_decay: float = 0.01
    schedule: Literal["cosine", "decay", "constant"] = "cosine"
    warm_up: float = 0.5
    decay: float = 0.8
    decay_after: int = 8
    augment: bool = False
    crop: float = 0.7
    colour: float = 0.0
    erase: float = 0.0
    input_dropout: float = 0.0

    def __post_init__(self) -> None:
        infinite = math.inf
        check(
            self,
            {
                "epochs": (0, infinite),
                "patience": (1, infinite),
                "learning_rate": (1e-12, 10),
                "encoder_learning_rate": (0, 10),
                "weight_decay": (0, infinite),
                "warm_up": (0, infinite),
                "decay": (0, 1),
                "decay_after": (1, infinite),
                "crop": (0.01, 1),
                "colour": (0, 0.9),
                "erase": (0, 1),
                "input_dropout": (0, 0.99),
            },
        )
        for name in ("colour", "erase"):
            if getattr(self, name) and not self.augment:
                raise ValueError(f"{name} is {getattr(self, name)}, which needs augment; set both")


@dataclass(frozen=True)
class SelfCriticalOptions(StageOptions):
    """The stage in which generated captions are rewarded by CIDEr-D.

    Parameters
    ----------
    samples
        Number of captions that beam search finds for each photo; they are compared with each other.
    max_length
        Largest number of words in these captions.
    """

    epochs: int = 0
    learning_rate: float = 5e-5
    encoder_learning_rate: float = 0.0
    samples: int = 5
    max_length: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        check(
            self,
            {
                "samples": (2, decoding_limits("num_captions")[1]),
                "max_length": (2, decoding_limits("max_length")[1]),
            },
        )
