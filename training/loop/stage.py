"""One stage of a training: what learns, from which photos, by which step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from model.decoding_options import DecodingOptions
from model.network import ShowAttendTell
from model.word_map import WordMap, tokenize
from training.config import TrainingConfig
from training.data.augmentation import Augmentation
from training.data.batches import TrainingSet
from training.data.grids import cached_grids
from training.data.mixture import Mixture, Part
from training.data.soft_targets import SoftTargetTable
from training.data.stacked import stacked
from training.loop.averaging import AveragedWeights
from training.loop.losses import CaptionLoss
from training.loop.optimizers import new_optimizer
from training.loop.self_critical import SelfCriticalStep
from training.loop.steps import CrossEntropyStep, Step
from training.processes import Processes
from training.scoring.cider import CiderD
from training.stage_options import SelfCriticalOptions, StageOptions


class Stage:
    """The parts of the network that learn in a stage, their optimizer and averaged weights.

    Parameters
    ----------
    name
        A key of `TrainingConfig.stages`.
    """

    def __init__(
        self, name: str, options: StageOptions, network: ShowAttendTell, ema_decay: float
    ) -> None:
        self.name, self.options, self.network = name, options, network
        network.encoder.fine_tune(name != "decoder" and options.encoder_learning_rate > 0)
        network.decoder.input_dropout.p = options.input_dropout
        self.optimizer = new_optimizer(options, network)
        self.averaged = AveragedWeights(network, ema_decay)

    @property
    def encoder_learns(self) -> bool:
        return any(p.requires_grad for p in self.network.encoder.parameters())

    def state_dict(self) -> dict[str, Any]:
        return {
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, values: dict[str, Any]) -> None:
        self.network.load_state_dict(values["network"])
        self.averaged.load_state_dict(values["averaged"])
        self.optimizer.load_state_dict(values["optimizer"])


class StagePhotos:
    """The photos of a stage: the training set, and the images that validation captions.

    While the encoder is frozen, its grids are computed once and take the place of the pixels;
    photos that are changed at random have other grids every time.

    The self-critical stage leaves out folders that people have not captioned: rewards compare with
    what people wrote.

    Parameters
    ----------
    users
        Folders for which the grids are kept on disk.
    """

    def __init__(
        self,
        stage: Stage,
        config: TrainingConfig,
        mixture: Mixture,
        word_map: WordMap,
        processes: Processes,
        users: list[Path],
    ) -> None:
        options = stage.options
        rewarded = isinstance(options, SelfCriticalOptions)
        learned = mixture.captioned if rewarded else mixture

        def images(part: Part) -> np.ndarray:
            if stage.encoder_learns:
                return part.prepared.pixels
            return cached_grids(stage.network.encoder, part.prepared, processes, users)

        pixels: list[np.ndarray] = [part.prepared.pixels for part in learned.parts]
        by_name = {
            part.name: images(part)
            for part in learned.parts
            if part.prepared.captioned or not options.augment  # validated, or trained on
        }
        # Of all photos of each captioned folder, for validation.
        self.images = [by_name[part.name] for part in learned.captioned.parts]
        taught = not rewarded and any(part.taught for part in learned.parts)
        changes = Augmentation(options.crop, options.colour, options.erase)
        self.training_set = TrainingSet(
            learned.photos,
            stacked(pixels if options.augment else [*by_name.values()]),
            learned.rows("train"),
            word_map,
            changes if options.augment else None,
            config.seed,
            learned.shares,
            SoftTargetTable(learned.parts, word_map, config.distillation) if taught else None,
        )


def new_step(stage: Stage, config: TrainingConfig, mixture: Mixture, word_map: WordMap) -> Step:
    """Return the step of a stage: teacher forcing, or self-critical training."""
    options = stage.options
    if not isinstance(options, SelfCriticalOptions):
        return CrossEntropyStep(stage.network, CaptionLoss(config.alpha_c, config.label_smoothing))
    end = word_map.words[word_map.end]
    rewarded = mixture.captioned
    photos = (rewarded.photos[row] for row in rewarded.rows("train"))
    references = {
        photo.name: [[*tokenize(text), end] for text in photo.captions] for photo in photos
    }
    search = DecodingOptions(
        options.samples,
        options.samples,
        options.max_length,
        config.length_penalty,
        consensus=False,
    )
    return SelfCriticalStep(stage.network, word_map, CiderD(references), search)


def distributed(step: Step, processes: Processes) -> nn.Module:
    """Return the step with its gradients averaged over all processes, if there are several."""
    if processes.world == 1:
        return step
    on_gpu = [processes.device] if processes.device.type == "cuda" else None
    return DistributedDataParallel(step, device_ids=on_gpu)
