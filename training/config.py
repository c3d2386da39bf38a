"""Everything a training depends on. Imports nothing heavy: the command line is made from it."""

from __future__ import annotations

import dataclasses
import math
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


def _option(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class TrainingConfig:
    """Everything a training depends on; `captioner train --help` prints it."""

    data: Path = field(metadata={"help": "folder or JSON file of captioned photos"})
    out: Path = field(metadata={"help": "checkpoint folder to write"})
    encoder: str = _option("resnet101", "resnet18/34/50/101/152 or timm/NAME")
    encoder_weights: str = _option(
        "imagenet", "imagenet, none, or a file with the backbone's state dict"
    )
    image_size: int = _option(256, "side in pixels of the square a photo is resized to")
    encoded_size: int = _option(14, "side of the grid of features; 0 keeps the encoder's own")
    attention_size: int = _option(512, "size of the attention layers")
    embedding_size: int = _option(512, "size of the word embeddings")
    hidden_size: int = _option(512, "size of the LSTM")
    dropout: float = _option(0.5, "share of the hidden state dropped before the word layer")
    minimum_count: int = _option(5, "words rarer than this in the training captions are unknown")
    epochs: int = _option(20, "epochs at most")
    patience: int = _option(5, "stop after so many epochs without a better CIDEr")
    batch_size: int = _option(32, "photos in a batch, each with all of its captions")
    learning_rate: float = _option(4e-4, "of AdamW at its peak; linear warm-up, cosine to zero")
    weight_decay: float = _option(0.01, "of AdamW")
    clip_norm: float = _option(5.0, "gradients are scaled down to this norm")
    alpha_c: float = _option(1.0, "weight of the doubly stochastic attention term")
    label_smoothing: float = _option(0.0, "share of the target spread over all words")
    ema_decay: float = _option(0.0, "of the averaged weights that are validated and kept; 0 is off")
    beam_size: int = _option(3, "of the search that validation scores are computed with")
    seed: int = _option(1, "of everything random")
    device: str = _option("auto", "cpu, cuda, cuda:1, ...; auto takes a GPU if there is one")
    precision: str = _option("auto", "bf16, fp32; auto takes bf16 where the hardware has it")
    notice: str = _option("", "what the model card says of the data: origin, licence")

    def __post_init__(self) -> None:
        for name, least, most in (
            ("encoded_size", 0, 64),
            ("minimum_count", 1, math.inf),
            ("epochs", 1, math.inf),
            ("patience", 1, math.inf),
            ("batch_size", 1, math.inf),
            ("weight_decay", 0, math.inf),
            ("alpha_c", 0, math.inf),
            ("label_smoothing", 0, 1),
            ("ema_decay", 0, 0.99999),
        ):
            if not least <= getattr(self, name) <= most:
                value = getattr(self, name)
                raise ValueError(f"{name} is {value}; it must be in {least}..{most}")
        for name in ("learning_rate", "clip_norm"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be above 0")
        if self.precision not in ("auto", "bf16", "fp32"):
            raise ValueError(f"precision is {self.precision!r}; allowed: auto, bf16, fp32")

    def command(self) -> str:
        """The command line that gives this configuration."""
        words = ["captioner", "train", str(self.data), "--out", str(self.out)]
        for entry in dataclasses.fields(self)[2:]:
            if (value := getattr(self, entry.name)) != entry.default:
                words += [f"--{entry.name.replace('_', '-')}", str(value)]
        return shlex.join(words)
