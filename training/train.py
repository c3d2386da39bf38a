"""Train a captioner: stages, early stopping, states to resume from, the checkpoint at the end."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import signal
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.parallel import DistributedDataParallel

from model import checkpoint
from model.captioner import Captioner
from model.decoding_options import DecodingOptions
from model.files import check_place, locked, write_whole
from model.inference.devices import has_bf16
from model.word_map import tokenize
from training.config import SelfCriticalOptions, StageOptions, TrainingConfig
from training.data import batches
from training.data.features import cached_grids
from training.data.prepared import Prepared
from training.loop import engine, state
from training.loop.averaging import AveragedWeights
from training.loop.building import new_network, new_optimizer
from training.loop.engine import EpochSoFar
from training.loop.losses import CaptionLoss
from training.loop.schedules import rate_factor
from training.loop.self_critical import SelfCriticalStep
from training.loop.steps import CrossEntropyStep, Step
from training.processes import Processes, joined
from training.reporting.model_card import inherited_terms, model_card
from training.reporting.report import write_report
from training.reporting.samples import write_samples
from training.scoring import metrics
from training.scoring.captions import caption_rows
from training.scoring.cider import CiderD
from training.scoring.split import Split

log = logging.getLogger("captioner")

ENOUGH_TO_SELECT = 50  # validation photos that tell epochs apart


class TrainingStopped(Exception):
    """A signal ended the training after its state was saved."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}; --resume goes on")
        self.number = number


def train(
    config: TrainingConfig, resume: bool = False, command: str = "", overwrite: bool = False
) -> dict[str, float]:
    """Train; the checkpoint of the best epoch by validation CIDEr is written to ``config.out``.

    Parameters
    ----------
    resume
        Go on where the run folder's newest state stands; from the start if it has none.
    command
        What the model card says made it.
    overwrite
        Replace a checkpoint at ``config.out`` that another training has written.

    Returns
    -------
    The validation scores of the checkpoint as written, weights in half precision.

    Raises
    ------
    ValueError
        The data, the configuration or the place to write to will not do, or another training uses
        the run folder; before any work is done.
    TrainingStopped
        SIGTERM or SIGINT came; the state is saved.
    """
    with joined(config.device) as processes, ExitStack() as held:
        return _Training(config, processes, resume, overwrite, held).run(command)


def fingerprint(config: TrainingConfig, prepared: Prepared) -> str:
    """Return a text of all that must not change between a state and going on from it."""
    free = {"device", "workers", "save_minutes", "keep", "out", "run", "data", "tensorboard"}
    fields = {k: v for k, v in dataclasses.asdict(config).items() if k not in free}
    return f"{prepared.digest} {json.dumps(fields, sort_keys=True, default=str)}"


def _origin(config: TrainingConfig) -> Path | None:
    """The checkpoint that the training has weights from: all, or those of the encoder."""
    if config.start_from:
        return config.start_from
    folder = Path(config.network.encoder_weights).parent
    return folder if (folder / checkpoint.CONFIG).is_file() else None


class _Training:
    """One training in one of its processes; ``held`` keeps the lock of its run folder."""

    def __init__(
        self,
        config: TrainingConfig,
        processes: Processes,
        resume: bool,
        overwrite: bool,
        held: ExitStack,
    ) -> None:
        self.config, self.processes, self.overwrite = config, processes, overwrite
        self.run_folder = config.run_folder
        self.prepared = Prepared.open(config.data)
        for split in ("train", "val"):
            self.prepared.rows(split)  # they are there
        processes.in_first(self._check_places)
        origin = _origin(config)
        self.terms = inherited_terms(origin) if origin else ""
        self.network, self.word_map = new_network(config, self.prepared)
        self.prepared.require_size(self.network.config.image_size)
        self.network.to(processes.device)
        if config.precision == "fp64":
            self.network.double()
        auto = config.precision == "auto" and has_bf16(processes.device)
        self.bf16 = auto or config.precision == "bf16"
        self.options = DecodingOptions(
            config.beam_size, length_penalty=config.length_penalty, consensus=False
        )
        few = len(self.prepared.rows("val")) < ENOUGH_TO_SELECT
        self.keep_last = config.select == "last" or (config.select == "auto" and few)
        self.standing, self.parts = self._standing(resume, held)
        self.last_saved = time.monotonic()
        self.signal = 0

    def _check_places(self) -> None:
        """Raise `ValueError` where the run folder or the checkpoint could not be written."""
        self._check_out()
        there = self.run_folder.exists()
        check_place(self.run_folder / "metrics.jsonl" if there else self.run_folder)

    def _check_out(self) -> None:
        """Raise `ValueError` for a checkpoint at ``out`` that is not this training's own."""
        own = checkpoint.is_same(self.config.out, self.best_folder)
        checkpoint.check_new(self.config.out, overwrite=self.overwrite or own)

    def _standing(self, resume: bool, held: ExitStack) -> tuple[state.Standing, dict[str, Any]]:
        """A fresh start or the newest state, once no other training is in the run folder."""

        def hold() -> None:
            self.run_folder.mkdir(parents=True, exist_ok=True)
            held.enter_context(state.held(self.run_folder))

        self.processes.in_first(hold)
        found = state.load_latest(self.run_folder)
        if found and not resume:
            raise ValueError(
                f"{self.run_folder} holds a training that has begun: go on with --resume, choose"
                " another --run, or delete it to begin anew"
            )
        torch.manual_seed(self.config.seed + self.processes.rank)
        if not found:
            if resume:
                log.info("%s holds no state: from the start", self.run_folder)
            return state.Standing(), {}
        standing, parts = found
        if parts["fingerprint"] != self._fingerprint():
            raise ValueError(
                f"{self.run_folder} was begun with other data or another configuration; choose"
                " another --run"
            )
        log.info("resuming: %s, epoch %d", [*self.config.stages][standing.stage], standing.epoch)
        return standing, parts

    def _fingerprint(self) -> str:
        """The configuration and the data, and the words that a start has been given."""
        found = fingerprint(self.config, self.prepared)
        if self.config.start_from is not None:  # its words have been merged with the captions'
            words = "\n".join(self.word_map.words)
            found += f" {hashlib.sha256(words.encode()).hexdigest()}"
        return found

    def run(self, command: str) -> dict[str, float]:
        log.info(
            "%d training and %d validation photos, %d words, %d process(es), on %s",
            len(self.prepared.splits["train"]),
            len(self.prepared.splits["val"]),
            len(self.word_map),
            self.processes.world,
            self.processes.device,
        )
        before = {n: signal.signal(n, self._stop) for n in (signal.SIGTERM, signal.SIGINT)}
        try:
            for index, (stage, options) in enumerate(self.config.stages.items()):
                if index >= self.standing.stage and options.epochs:
                    self._train_stage(index, stage, options)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        return self._finish(command)

    def _stop(self, number: int, _frame: object) -> None:
        if self.signal:  # asked a second time
            raise KeyboardInterrupt
        self.signal = number

    def _train_stage(self, index: int, stage: str, options: StageOptions) -> None:
        """Train until the epochs are over or patience is lost."""
        standing, network = self.standing, self.network
        if standing.stage != index:  # the stage before is complete: from its best
            standing.stage, standing.epoch, standing.since_best = index, 1, 0
            standing.rate_factor = 1.0
            if standing.rows:
                network.load_state_dict(checkpoint.load(self.best_folder)[0].state_dict())
        network.encoder.fine_tune(stage != "decoder" and options.encoder_learning_rate > 0)
        network.decoder.input_dropout.p = options.input_dropout
        optimizer = new_optimizer(options, network)
        averaged = AveragedWeights(network, self.config.ema_decay)
        self._restore(optimizer, averaged)
        frozen = not any(p.requires_grad for p in network.encoder.parameters())
        grids = (
            cached_grids(network.encoder, self.prepared, self.processes, self._users())
            if frozen
            else None
        )
        dataset = batches.TrainingSet(
            self.prepared.photos if grids is None or options.augment else grids,
            self.prepared.names,
            self.prepared.captions,
            self.prepared.splits["train"],
            self.word_map,
            options.augment,
            self.config.seed,
            options.crop,
        )
        step: torch.nn.Module = self._step(options)
        figure = "loss" if isinstance(step, CrossEntropyStep) else "reward"
        if self.processes.world > 1:
            on_gpu = [self.processes.device] if self.processes.device.type == "cuda" else None
            step = DistributedDataParallel(step, device_ids=on_gpu)

        while standing.epoch <= options.epochs and standing.since_best < options.patience:
            began = time.monotonic()
            self._train_epoch(options, step, dataset, optimizer, averaged)
            images = self.prepared.photos if grids is None else grids
            mean = standing.so_far.figure / max(1, standing.so_far.batches)
            row = {"epoch": len(standing.rows) + 1, "stage": stage, figure: mean}
            self._validate(row, options, averaged, images, optimizer, time.monotonic() - began)
            if standing.since_best and standing.since_best % options.decay_after == 0:
                standing.rate_factor *= options.decay
            standing.epoch, standing.so_far = standing.epoch + 1, EpochSoFar()
            self._save(optimizer, averaged)

    def _users(self) -> list[Path]:
        """The folders for which this training's grids are kept."""
        return [self.config.out.absolute(), self.run_folder.absolute()]

    def _step(self, options: StageOptions) -> Step:
        if not isinstance(options, SelfCriticalOptions):
            return CrossEntropyStep(
                self.network, CaptionLoss(self.config.alpha_c, self.config.label_smoothing)
            )
        words = self.word_map.words
        references = {
            row: [
                [*tokenize(text), words[self.word_map.end]] for text in self.prepared.captions[row]
            ]
            for row in self.prepared.splits["train"]
        }
        search = DecodingOptions(
            options.samples,
            options.samples,
            options.max_length,
            self.config.length_penalty,
            consensus=False,
        )
        return SelfCriticalStep(self.network, self.word_map, CiderD(references), search)

    def _train_epoch(
        self,
        options: StageOptions,
        step: torch.nn.Module,
        dataset: batches.TrainingSet,
        optimizer: torch.optim.Optimizer,
        averaged: AveragedWeights,
    ) -> None:
        standing, processes = self.standing, self.processes
        order = batches.BatchOrder(
            len(dataset),
            self.config.batch_size,
            self.config.seed,
            len(standing.rows),  # epochs of all stages
            processes.rank,
            processes.world,
            standing.so_far.batches,
        )

        def set_rates(batch: int) -> None:
            done = standing.epoch - 1 + batch / order.total
            factor = rate_factor(options, done, 1 / order.total, standing.rate_factor)
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * factor

        def after_batch() -> None:
            due = time.monotonic() - self.last_saved > 60 * self.config.save_minutes
            number, save = processes.sum([float(self.signal), float(processes.first and due)])
            if number or save:
                self._save(optimizer, averaged)
            if number:
                raise TrainingStopped(self.signal or signal.SIGTERM)

        engine.train_one_epoch(
            step=step,
            batches=batches.load(dataset, order, self.config.workers, processes.device),
            total=order.total,
            so_far=standing.so_far,
            optimizer=optimizer,
            set_rates=set_rates,
            averaged=averaged,
            clip_norm=self.config.clip_norm,
            bf16=self.bf16,
            processes=processes,
            after_batch=after_batch,
            what=f"epoch {len(standing.rows) + 1}",
        )

    def _validate(
        self,
        row: dict[str, Any],
        options: StageOptions,
        averaged: AveragedWeights,
        images: np.ndarray,
        optimizer: torch.optim.Optimizer,
        seconds: float,
    ) -> None:
        """Score the epoch; keep it if it is the best; write down ``row`` with its figures."""
        standing, rows = self.standing, self.prepared.splits["val"]
        captioner = Captioner(averaged.network, self.word_map)
        captions = caption_rows(captioner, images, rows, self.options, self.processes)
        texts = [caption.text for caption in captions]
        scores = metrics.score(texts, [self.prepared.captions[row] for row in rows])
        # In the middle of the epoch: warm-up starts and cosine ends near zero.
        factor = rate_factor(options, standing.epoch - 0.5, 0.0, standing.rate_factor)
        decoder_rate, *encoder_rate = (g["peak"] * factor for g in optimizer.param_groups)
        row |= scores | {"learning_rate": decoder_rate, "seconds": round(seconds, 1)}
        if encoder_rate:
            row["encoder_learning_rate"] = encoder_rate[0]
        standing.rows.append(row)
        standing.since_best += 1
        if self.keep_last or scores["CIDEr"] > standing.best:
            standing.best, standing.since_best = scores["CIDEr"], 0
            for before in standing.rows:
                before.pop("kept", None)
            row["kept"] = True
            if self.processes.first:
                note = f"On the way: epoch {row['epoch']}, validation CIDEr {standing.best:.4f}.\n"
                checkpoint.save(self.best_folder, averaged.network, self.word_map, note)
        self.processes.wait()
        if self.processes.first:
            self._write_figures()
            told = {name: row[name] for name in ("loss", "reward", *scores) if name in row}
            figures = "  ".join(f"{name} {value:.4f}" for name, value in told.items())
            log.info("epoch %d: %s  (%.0f s)", row["epoch"], figures, seconds)

    @property
    def best_folder(self) -> Path:
        return self.run_folder / "best"

    def _write_figures(self) -> None:
        lines = "".join(json.dumps(row) + "\n" for row in self.standing.rows)
        write_whole(self.run_folder / "metrics.jsonl", lines.encode())
        if self.config.tensorboard:
            row = self.standing.rows[-1]
            from torch.utils.tensorboard import SummaryWriter  # an extra

            with SummaryWriter(str(self.run_folder / "tensorboard")) as board:
                for name, value in row.items():
                    if isinstance(value, float):
                        board.add_scalar(name, value, row["epoch"])

    def _save(self, optimizer: torch.optim.Optimizer, averaged: AveragedWeights) -> None:
        """Write a state; every process gives its random numbers' state, the first one writes."""
        random = self.processes.gather(state.random_state(self.processes.device))
        if self.processes.first:
            parts = {
                "fingerprint": self._fingerprint(),
                "network": self.network.state_dict(),
                "averaged": averaged.state_dict(),
                "optimizer": optimizer.state_dict(),
                "random": random,
            }
            state.save(self.run_folder, self.standing, parts, self.config.keep)
        self.processes.wait()
        self.last_saved = time.monotonic()

    def _restore(self, optimizer: torch.optim.Optimizer, averaged: AveragedWeights) -> None:
        """Take up the state that was found, once."""
        parts, self.parts = self.parts, {}
        if not parts:
            return
        self.network.load_state_dict(parts["network"])
        averaged.load_state_dict(parts["averaged"])
        optimizer.load_state_dict(parts["optimizer"])
        if self.processes.world == len(parts["random"]):
            state.set_random_state(parts["random"][self.processes.rank], self.processes.device)
        else:
            log.warning("another number of processes than before: dropout is drawn anew")

    def _finish(self, command: str) -> dict[str, float]:
        """Score the best checkpoint as it is read back, and write it with its card."""
        captioner = Captioner.load(self.best_folder, self.processes.device)
        rows, photos = self.prepared.splits["val"], self.prepared.photos
        captions = caption_rows(captioner, photos, rows, self.options, self.processes)
        texts = [caption.text for caption in captions]
        scores = metrics.score(texts, [self.prepared.captions[row] for row in rows])
        self.processes.in_first(lambda: self._write_out(scores, command))
        if self.processes.first:
            write_report(self.standing.rows, self.run_folder / "report.png")
            validation = Split.open(self.config.data, "val", captioner.network.config.image_size)
            samples = self.run_folder / "samples.png"
            write_samples(validation, captioner, samples, self.options, self.config.seed)
            log.info(
                "pictures: %s, %s", *(self.run_folder / f"{n}.png" for n in ("report", "samples"))
            )
        self.processes.wait()
        return scores

    def _write_out(self, scores: dict[str, float], command: str) -> None:
        """Write the checkpoint with its card, unless another training wrote one meanwhile."""
        out = self.config.out
        network, word_map = checkpoint.load(self.best_folder)
        card = model_card(
            self.config,
            self.prepared,
            network,
            scores,
            self.standing.rows,
            self.keep_last,
            command,
            self.terms,
        )
        out.parent.mkdir(parents=True, exist_ok=True)
        with locked(out.parent):  # between looking and writing nobody else writes
            try:
                self._check_out()
            except ValueError as error:
                raise ValueError(
                    f"{error}. This training's own is {self.best_folder}, and --resume with the"
                    f" same options, --run {self.run_folder} and another --out writes it there"
                ) from error
            # Its own from before is left alone: a calibration lies beside it by now, perhaps.
            if self.overwrite or not checkpoint.is_same(out, self.best_folder):
                checkpoint.save(out, network, word_map, card)
