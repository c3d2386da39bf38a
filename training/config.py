"""The configuration of a training; its docstrings are the help of ``captioner train``.

It imports nothing heavy: the command line is made from it.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

from model.decoding_options import DecodingOptions
from training.stage_options import (
    NetworkOptions,
    SelfCriticalOptions,
    StageOptions,
    check,
    decoding_limits,
)


@dataclass(frozen=True)
class DataFolder:
    """A prepared folder, and how often an epoch goes through its training photos."""

    path: Path
    repeats: float = 1.0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the folder of a text FOLDER or FOLDER=N, where N is a number.

        Raises
        ------
        ValueError
            N is outside 0.001..1000, or there is no FOLDER.
        """
        folder, equals, number = text.rpartition("=")
        if not equals or not re.fullmatch(r"\d+(\.\d*)?|\.\d+", number):
            return cls(Path(text))
        if not folder or not 0.001 <= float(number) <= 1000:
            raise ValueError(
                f"data is {text!r}; write FOLDER or FOLDER=N, with a number N in 0.001..1000 that"
                " says how often an epoch goes through its photos"
            )
        return cls(Path(folder), float(number))


@dataclass(frozen=True)
class TrainingConfig:
    """One training.

    Parameters
    ----------
    data
        Folder that `captioner prepare` has written, as FOLDER or FOLDER=N. An epoch goes N times
        through its training photos, by default once; 0.5 takes another half of them each epoch.
        To train on several folders together, give the option for each, or a list in YAML.
    out
        Checkpoint folder to write at the end.
    run
        Folder for states to resume from, the best checkpoint so far, figures and pictures; by
        default `out` with .run after its name. One training at a time uses it.
    start_from
        Checkpoint folder to start from; words that it does not know are added. Also `--from`.
    network
        The network, if training does not start from a checkpoint.
    decoder
        First stage: the decoder learns, the encoder is frozen.
    fine_tune
        Second stage: the encoder's upper blocks learn too. It begins with the best network so far.
    self_critical
        Third stage: captions that the network generates are rewarded by CIDEr-D. The encoder
        learns only if it is given a learning rate.
    minimum_count
        Words that occur less often in the training captions are unknown to the network.
    batch_size
        Number of photos in a batch, over all processes, each with all of its captions.
    clip_norm
        Largest norm of the gradients; larger ones are scaled down.
    alpha_c
        Weight of the term that asks attention to cover the whole photo (doubly stochastic
        attention).
    label_smoothing
        Share of the target probability that is spread over all words.
    distillation
        Share of a word's loss that is the cross-entropy with the probabilities of teachers instead
        of the true word; every folder must have been taught, see `captioner teach`. With 0,
        teachers are learned from on photos that nobody has captioned alone: there the share is
        always 1.
    select
        Epoch to keep. best: that of the best CIDEr. last: the last one, without patience. auto:
        best, but last if a folder has fewer than 50 validation photos, whose scores are mostly
        chance. For several folders CIDEr is the mean of theirs, whatever their sizes.
    ema_decay
        Decay of the averaged weights, which are validated and kept; 0 averages none.
    beam_size
        Number of beams of the search for validation captions.
    length_penalty
        Length penalty of the searches, for validation captions and for captions to reward.
    seed
        Seed of everything random.
    device
        Device to train on: cpu, cuda, cuda:1, ...; auto takes a GPU if there is one.
    precision
        Precision: bf16, fp32 or, to compare runs, fp64; auto takes bf16 where the hardware has it.
    workers
        Number of processes that load photos ahead, for each training process; with 0 it loads them
        itself.
    save_minutes
        Minutes between two states to resume from; one is also saved after every epoch.
    keep
        Number of states to keep.
    tensorboard
        Also write the figures for TensorBoard (needs: pip install tensorboard).
    notice
        Text about the data: origin, licence. It stands in the model card and in config.json, after
        the notices of the checkpoint to start from. For several folders one text about all, or the
        option once for each, in their order.
    """

    data: list[Path] | Path
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
    distillation: float = 0.0
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
    notice: list[str] | str = ""

    def __post_init__(self) -> None:
        infinite = math.inf
        check(
            self,
            {
                "minimum_count": (1, infinite),
                "batch_size": (1, infinite),
                "clip_norm": (1e-12, infinite),
                "alpha_c": (0, infinite),
                "label_smoothing": (0, 1),
                "distillation": (0, 1),
                "ema_decay": (0, 0.99999),
                "beam_size": decoding_limits("beam_size"),
                "length_penalty": decoding_limits("length_penalty"),
                "workers": (0, 64),
                "save_minutes": (0, infinite),
                "keep": (1, infinite),
            },
        )
        if self.out.name in ("", ".."):
            raise ValueError(f"out is {str(self.out)!r}; name the folder to write")
        if not self.folders:
            raise ValueError("data is an empty list; name the folders to train on")
        if not isinstance(self.notice, str) and len(self.notice) != len(self.folders):
            raise ValueError(
                f"notice lists {len(self.notice)} texts for {len(self.folders)} folders of data;"
                " give one for each, or a single one about all"
            )
        if not any(stage.epochs for stage in self.stages.values()):
            raise ValueError("the epochs of every stage are 0: nothing to train")

    @property
    def folders(self) -> list[DataFolder]:
        """The folders of `data`."""
        given = self.data if isinstance(self.data, list) else [self.data]
        return [DataFolder.parse(str(each)) for each in given]

    @property
    def stages(self) -> dict[str, StageOptions]:
        """The stages by name, in their order."""
        return {
            "decoder": self.decoder,
            "fine-tune": self.fine_tune,
            "self-critical": self.self_critical,
        }

    @property
    def decoding(self) -> DecodingOptions:
        """The search that validation scores are computed with."""
        return DecodingOptions(self.beam_size, length_penalty=self.length_penalty, consensus=False)

    @property
    def run_folder(self) -> Path:
        """`run`, or a folder beside `out`, which only trainings of the same checkpoint share."""
        return self.run or self.out.with_name(f"{self.out.name}.run")
