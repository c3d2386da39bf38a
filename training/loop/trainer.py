"""A whole training: stages, epochs, early stopping, states to resume from."""

from __future__ import annotations

import hashlib
import logging
import signal
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from torch import nn

from model import checkpoint
from model.captioner import Captioner
from model.inference.devices import has_bf16
from model.inference.rounding import rounded
from model.network import ShowAttendTell
from model.word_map import WordMap
from training.config import TrainingConfig
from training.data.batches import BatchOrder, TrainingSet, batch_loader
from training.data.mixture import Mixture
from training.loop import epoch
from training.loop.epoch import EpochProgress
from training.loop.final_checkpoint import FinalCheckpoint
from training.loop.optimizers import learning_rates, set_learning_rates
from training.loop.run_folder import RunFolder
from training.loop.schedules import rate_factor
from training.loop.signals import StopSignals, TrainingStopped
from training.loop.stage import Stage, StagePhotos, distributed, new_step
from training.loop.state import (
    RandomState,
    TrainerState,
    fingerprint,
    random_state,
    set_random_state,
)
from training.loop.validation import Validator
from training.network.initial import initial_network
from training.processes import Processes
from training.reporting.report import write_report
from training.reporting.samples import write_samples
from training.scoring.split import Split
from training.scoring.validation import ValidationScores
from training.stage_options import StageOptions

log = logging.getLogger("captioner")

MIN_TO_SELECT = 50  # validation photos; the scores of fewer do not tell epochs apart


class Trainer:
    """One training, in one of its processes.

    Making it checks everything that can be checked before hours of work, and loads the newest
    state, if there is one.

    Parameters
    ----------
    resume, overwrite
        See `training.train.train`.
    locks
        Gets the lock of the run folder.
    """

    def __init__(
        self,
        config: TrainingConfig,
        processes: Processes,
        resume: bool,
        overwrite: bool,
        locks: ExitStack,
    ) -> None:
        self.config, self.processes = config, processes
        self.mixture = Mixture.open(config.folders, config.distillation)
        self.run = RunFolder(config.run_folder)
        self.final = FinalCheckpoint(config, self.run.best, overwrite)
        processes.in_first(self._check_places)
        self.network, self.word_map = self._initial_network()
        self.bf16 = config.precision == "bf16" or (
            config.precision == "auto" and has_bf16(processes.device)
        )
        self.validator = Validator(self.mixture, config, processes)
        too_few = self.validator.min_photos < MIN_TO_SELECT
        self.keep_last = config.select == "last" or (config.select == "auto" and too_few)
        processes.in_first(lambda: locks.enter_context(self.run.lock()))
        self.state, self._loaded = self._newest_state(resume)
        self.signals = StopSignals()
        self.last_saved = time.monotonic()

    def _check_places(self) -> None:
        self.final.check_place()
        self.run.check_place()

    def _initial_network(self) -> tuple[ShowAttendTell, WordMap]:
        network, word_map = initial_network(self.config, self.mixture)
        network.to(self.processes.device)
        if self.config.precision == "fp64":
            network.double()
        return network, word_map

    def _newest_state(self, resume: bool) -> tuple[TrainerState, dict[str, Any]]:
        """Return a new state, or the newest in the run folder with its tensors; seed torch."""
        found = self.run.load_state()
        if found and not resume:
            raise ValueError(
                f"{self.run.path} holds a training that has begun: go on with --resume, choose"
                " another --run, or delete it to begin anew"
            )
        torch.manual_seed(self.config.seed + self.processes.rank)
        if not found:
            if resume:
                log.info("%s holds no state: from the start", self.run.path)
            return TrainerState(), {}
        state, loaded = found
        if loaded["fingerprint"] != self._fingerprint():
            if "data" in loaded:  # not in the states of older versions
                self.mixture.require_same(loaded["data"], self.run.path)
            raise ValueError(
                f"{self.run.path} was begun with other data or another configuration; choose"
                " another --run"
            )
        log.info("resuming: %s, epoch %d", [*self.config.stages][state.stage], state.epoch)
        return state, loaded

    def _fingerprint(self) -> str:
        """Return the fingerprint of configuration and data, and of the words of a start."""
        found = fingerprint(self.config, self.mixture)
        if self.config.start_from is not None:  # its words are merged with those of the captions
            words = "\n".join(self.word_map.words)
            found += f" {hashlib.sha256(words.encode()).hexdigest()}"
        return found

    def train(self) -> None:
        """Train all stages that are left.

        Raises
        ------
        TrainingStopped
            A signal came; the state is saved.
        """
        log.info(
            "photos: %s; %d words, %d process(es), on %s",
            self.mixture,
            len(self.word_map),
            self.processes.world,
            self.processes.device,
        )
        with self.signals:
            for index, (name, options) in enumerate(self.config.stages.items()):
                if index >= self.state.stage and options.epochs:
                    self._train_stage(index, name, options)

    def _train_stage(self, index: int, name: str, options: StageOptions) -> None:
        """Train until the epochs are over or patience is lost."""
        state = self.state
        if state.stage != index:  # the stage before is complete
            self._enter_stage(index)
        stage = Stage(name, options, self.network, self.config.ema_decay)
        random_states = self._restore(stage)
        users = [self.config.out.absolute(), self.run.path.absolute()]
        photos = StagePhotos(stage, self.config, self.mixture, self.word_map, self.processes, users)
        plain_step = new_step(stage, self.config, self.mixture, self.word_map)
        step = distributed(plain_step, self.processes)
        if random_states:  # last: to build the stage may draw random numbers
            self._restore_random_state(random_states)
        while state.epoch <= options.epochs and state.epochs_since_best < options.patience:
            began = time.monotonic()
            self._train_epoch(stage, step, photos.training_set)
            seconds = time.monotonic() - began
            self._validate(stage, photos.images, plain_step.figure, seconds)
            if state.epochs_since_best and state.epochs_since_best % options.decay_after == 0:
                state.decay_factor *= options.decay
            state.epoch, state.progress = state.epoch + 1, EpochProgress()
            self._save(stage)

    def _enter_stage(self, index: int) -> None:
        """Begin a stage with the best network of those before it."""
        state = self.state
        state.stage, state.epoch, state.epochs_since_best = index, 1, 0
        state.decay_factor = 1.0
        if state.rows:
            self.network.load_state_dict(checkpoint.load(self.run.best)[0].state_dict())

    def _restore(self, stage: Stage) -> list[RandomState]:
        """Take over the tensors of the state that was loaded, once; return its random states."""
        loaded, self._loaded = self._loaded, {}
        if not loaded:
            return []
        stage.load_state_dict(loaded)
        states: list[RandomState] = loaded["random"]
        return states

    def _restore_random_state(self, states: list[RandomState]) -> None:
        """Take over the random state of this process, if there were as many processes as now."""
        if self.processes.world == len(states):
            set_random_state(states[self.processes.rank], self.processes.device)
        else:
            log.warning("another number of processes than before: dropout is drawn anew")

    def _train_epoch(self, stage: Stage, step: nn.Module, training_set: TrainingSet) -> None:
        state, processes = self.state, self.processes
        number = len(state.rows)  # of the epoch, over all stages
        order = BatchOrder(
            training_set.places(number),
            self.config.batch_size,
            self.config.seed,
            epoch=number,
            rank=processes.rank,
            world=processes.world,
            start=state.progress.batches,
        )

        def set_rates(batch: int) -> None:
            done = state.epoch - 1 + batch / order.total
            factor = rate_factor(stage.options, done, 1 / order.total, state.decay_factor)
            set_learning_rates(stage.optimizer, factor)

        epoch.train_one_epoch(
            step=step,
            batches=batch_loader(training_set, order, self.config.workers, processes.device),
            total=order.total,
            done=state.progress,
            optimizer=stage.optimizer,
            set_rates=set_rates,
            averaged=stage.averaged,
            clip_norm=self.config.clip_norm,
            bf16=self.bf16,
            processes=processes,
            after_batch=lambda: self._after_batch(stage),
            name=f"epoch {number + 1}",
        )

    def _after_batch(self, stage: Stage) -> None:
        """Save a state if it is time, or if a signal came to any process; then stop."""
        due = time.monotonic() - self.last_saved > 60 * self.config.save_minutes
        number, save = self.processes.sum(
            [float(self.signals.number), float(self.processes.first and due)]
        )
        if number or save:
            self._save(stage)
        if number:
            raise TrainingStopped(self.signals.number or signal.SIGTERM)

    def _validate(
        self, stage: Stage, images: Sequence[np.ndarray], figure: str, seconds: float
    ) -> None:
        """Score the epoch, keep its network if it is the best, and write down its figures."""
        state = self.state
        captioner = Captioner(stage.averaged.network, self.word_map)
        scores = self.validator.scores(captioner, images)
        # In the middle of the epoch: warm-up starts and cosine ends near zero.
        factor = rate_factor(stage.options, state.epoch - 0.5, 0.0, state.decay_factor)
        row: dict[str, Any] = {"epoch": len(state.rows) + 1, "stage": stage.name}
        row |= {figure: state.progress.mean} | scores.mean
        row |= learning_rates(stage.optimizer, factor) | {"seconds": round(seconds, 1)}
        if self.mixture.captioned.several:
            row["datasets"] = scores.by_dataset
        state.rows.append(row)
        state.epochs_since_best += 1
        if self.keep_last or row["CIDEr"] > state.best_cider:
            self._keep(stage, row)
        self.processes.wait()
        if self.processes.first:
            self.run.write_figures(state.rows, self.config.tensorboard)
            figures = "  ".join(f"{name} {row[name]:.4f}" for name in (figure, *scores.mean))
            log.info("epoch %d: %s  (%.0f s)", row["epoch"], figures, seconds)
            self._log_datasets(scores)

    def _log_datasets(self, scores: ValidationScores) -> None:
        """Log the scores of each dataset, if there are several; the ones above are their means."""
        for name, each in scores.by_dataset.items() if self.mixture.captioned.several else ():
            figures = "  ".join(f"{score} {value:.4f}" for score, value in each.items())
            log.info("  %s: %s", name, figures)

    def _keep(self, stage: Stage, row: dict[str, Any]) -> None:
        """Make this epoch's network the best checkpoint so far."""
        state = self.state
        state.best_cider, state.epochs_since_best = row["CIDEr"], 0
        for before in state.rows:
            before.pop("kept", None)
        row["kept"] = True
        if self.processes.first:
            note = f"Unfinished: epoch {row['epoch']}, validation CIDEr {row['CIDEr']:.4f}.\n"
            checkpoint.save(self.run.best, rounded(stage.averaged.network), self.word_map, note)

    def _save(self, stage: Stage) -> None:
        """Write a state; every process adds the state of its random numbers, the first writes."""
        random = self.processes.gather(random_state(self.processes.device))
        if self.processes.first:
            parts = stage.state_dict() | {
                "fingerprint": self._fingerprint(),
                "data": self.mixture.description(),
                "random": random,
            }
            self.run.save_state(self.state, parts, self.config.keep)
        self.processes.wait()
        self.last_saved = time.monotonic()

    def finish(self, command: str) -> dict[str, float]:
        """Write the best checkpoint to ``out``, and pictures; return its validation scores.

        They are the means over the datasets, if there are several. The checkpoint is scored as it
        is read back, with weights in half precision, and on pixels.
        """
        captioner = Captioner.load(self.run.best, self.processes.device)
        pixels = [part.prepared.pixels for part in self.mixture.captioned.parts]
        scores = self.validator.scores(captioner, pixels)
        self.processes.in_first(
            lambda: self.final.write(self.mixture, scores, self.state.rows, self.keep_last, command)
        )
        if self.processes.first:
            if self.mixture.captioned.several:
                log.info("the checkpoint as written:")
            self._log_datasets(scores)
            self._draw_pictures(captioner)
        self.processes.wait()
        return scores.mean

    def _draw_pictures(self, captioner: Captioner) -> None:
        report = self.run.path / "report.png"
        write_report(self.state.rows, report)
        pictures = [report]
        scored = self.mixture.captioned
        for part in scored.parts:
            name = f"samples-{part.name}.png" if scored.several else "samples.png"
            validation = Split.prepared(part.prepared, "val")
            pictures.append(self.run.path / name)
            write_samples(
                validation, captioner, pictures[-1], self.validator.decoding, self.config.seed
            )
        log.info("pictures: %s", ", ".join(map(str, pictures)))
