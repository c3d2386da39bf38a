"""Everything a training depends on. Imports nothing heavy: the command line is made from it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal


def _check(options: Any, limits: dict[str, tuple[float, float]]) -> None:
    for name, (least, most) in limits.items():
        value = getattr(options, name)
        if not least <= value <= most:
            raise ValueError(f"{name} is {value}; it must be in {least}..{most}")


@dataclass(frozen=True)
class NetworkOptions:
    """What the network is built from; a network that training starts from brings its own.

    Parameters
    ----------
    encoder
        resnet18, 34, 50, 101, 152 or timm/NAME.
    encoder_weights
        imagenet, none, or a file with the backbone's state dict.
    image_size
        Side in pixels of the square a photo is resized to; that of the prepared data.
    encoded_size
        Side of the grid of features; 0 keeps the encoder's own.
    attention_size
        Size of the attention layers.
    embedding_size
        Size of the word embeddings.
    hidden_size
        Size of the LSTM.
    dropout
        Share of the hidden state dropped before the word layer.
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
        _check(self, {"encoded_size": (0, 64)})


@dataclass(frozen=True)
class StageOptions:
    """One stage of training.

    Parameters
    ----------
    epochs
        Epochs at most; 0 leaves the stage out.
    patience
        The stage ends after so many epochs without a better CIDEr.
    learning_rate
        Of the decoder, at its peak.
    encoder_learning_rate
        Of the encoder's upper blocks; in the fine-tuning stage only.
    optimizer
        adamw or adam.
    weight_decay
        Of adamw.
    schedule
        cosine: to zero at the last epoch; decay: times `decay` whenever CIDEr has not risen for
        `decay_after` epochs; constant.
    warm_up
        Epochs over which the rate rises to its peak.
    decay
        Factor of the decay schedule.
    decay_after
        Epochs without a better CIDEr that bring the factor on.
    augment
        Random crops, and flips of photos whose captions say neither left nor right, in English.
    crop
        Least share of a photo that a crop keeps.
    input_dropout
        Share of the grid of features, and of the embedding of the word read, that is dropped.
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
    input_dropout: float = 0.0

    def __post_init__(self) -> None:
        infinite = math.inf
        _check(
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
                "input_dropout": (0, 0.99),
            },
        )


@dataclass(frozen=True)
class SelfCriticalOptions(StageOptions):
    """The stage that rewards captions by CIDEr-D.

    Parameters
    ----------
    samples
        Captions that beam search finds for each photo, to be compared with one another.
    max_length
        Words of those at most.
    """

    epochs: int = 0
    learning_rate: float = 5e-5
    encoder_learning_rate: float = 0.0
    samples: int = 5
    max_length: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        _check(self, {"samples": (2, 20), "max_length": (2, 100)})


@dataclass(frozen=True)
class TrainingConfig:
    """One training.

    Parameters
    ----------
    data
        Folder that `captioner prepare` has written.
    out
        Checkpoint folder to write at the end.
    run
        Folder of everything on the way: states to resume from, the best checkpoint so far, figures
        and pictures; by default `out` with .run after its name. One training at a time uses it.
    start_from
        Checkpoint folder to start from, words it does not know added; also `--from`.
    network
        The network, where training does not start from one.
    decoder
        First stage: the decoder, on a frozen encoder.
    fine_tune
        Second stage: the encoder's upper blocks too, from the best decoder.
    self_critical
        Third stage: captions of one's own are rewarded by CIDEr-D, from the best network; the
        encoder learns only if it is given a rate.
    minimum_count
        Words rarer than this in the training captions are unknown.
    batch_size
        Photos in a batch, over all processes, each with all of its captions.
    clip_norm
        Gradients are scaled down to this norm.
    alpha_c
        Weight of the doubly stochastic attention term.
    label_smoothing
        Share of the target spread over all words.
    select
        The epoch that is kept: best, by CIDEr, or last, without patience; auto: best, unless there
        are fewer than 50 validation photos, whose scores are mostly chance.
    ema_decay
        Of the averaged weights that are validated and kept; 0 is off.
    beam_size
        Of the search that validation scores are computed with.
    length_penalty
        Of the same; and of the search for captions to reward.
    seed
        Of everything random.
    device
        cpu, cuda, cuda:1, ...; auto takes a GPU if there is one.
    precision
        bf16, fp32 or, to compare runs, fp64; auto takes bf16 where the hardware has it.
    workers
        Processes that load photos ahead, for each training process; 0 loads in line.
    save_minutes
        A state to resume from is written so often, and after every epoch.
    keep
        States that are kept.
    tensorboard
        Also write the figures for TensorBoard (pip install tensorboard).
    notice
        What the model card says of the data: origin, licence.
    """

    data: Path
    out: Path
    run: Path | None = None
    start_from: Path | None = None
    network: NetworkOptions = field(default_factory=NetworkOptions)
    decoder: StageOptions = field(default_factory=StageOptions)
    fine_tune: StageOptions = field(default_factory=lambda: StageOptions(epochs=0, augment=True))
    self_critical: SelfCriticalOptions = field(default_factory=SelfCriticalOptions)
    minimum_count: int = 5
    batch_size: int = 32
    clip_norm: float = 5.0
    alpha_c: float = 1.0
    label_smoothing: float = 0.0
    select: Literal["auto", "best", "last"] = "auto"
    ema_decay: float = 0.0
    beam_size: int = 3
    length_penalty: float = 0.7
    seed: int = 1
    device: str = "auto"
    precision: Literal["auto", "bf16", "fp32", "fp64"] = "auto"
    workers: int = 0
    save_minutes: float = 5.0
    keep: int = 2
    tensorboard: bool = False
    notice: str = ""

    def __post_init__(self) -> None:
        infinite = math.inf
        _check(
            self,
            {
                "minimum_count": (1, infinite),
                "batch_size": (1, infinite),
                "clip_norm": (1e-12, infinite),
                "alpha_c": (0, infinite),
                "label_smoothing": (0, 1),
                "ema_decay": (0, 0.99999),
                "beam_size": (1, 20),
                "length_penalty": (0, 2),
                "workers": (0, 64),
                "save_minutes": (0, infinite),
                "keep": (1, infinite),
            },
        )
        if self.out.name in ("", ".."):
            raise ValueError(f"out is {str(self.out)!r}; name the folder to write")
        if not any(stage.epochs for stage in self.stages.values()):
            raise ValueError("the epochs of every stage are 0: nothing to train")

    @property
    def stages(self) -> dict[str, StageOptions]:
        """In their order."""
        return {
            "decoder": self.decoder,
            "fine-tune": self.fine_tune,
            "self-critical": self.self_critical,
        }

    @property
    def run_folder(self) -> Path:
        """Beside `out`: two trainings share it only if they write the same checkpoint."""
        return self.run or self.out.with_name(f"{self.out.name}.run")
