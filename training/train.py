"""Train a captioner from photos and captions to a checkpoint folder."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from pathlib import Path

import torch

from model import checkpoint
from model.beam_search import DecodingOptions
from model.captioner import Captioner
from model.config import ModelConfig
from model.device import choose_device, has_bf16
from model.network import ShowAttendTell
from model.word_map import WordMap, tokenize
from training import datasets, engine
from training.averaging import AveragedWeights
from training.batches import EncodedSplit, TrainingBatches, encode_split
from training.config import TrainingConfig
from training.encoder_weights import load_encoder_weights, normalisation
from training.losses import CaptionLoss
from training.model_card import model_card

log = logging.getLogger("captioner")


def train(config: TrainingConfig) -> dict[str, float]:
    """Train with a frozen encoder; the checkpoint of the best epoch by validation CIDEr stays.

    Returns
    -------
    The validation scores of the checkpoint as written, weights in half precision.

    Raises
    ------
    ValueError
        The data, the configuration or the place to write to will not do; before any work is done.
    """
    _check_writable(config.out)
    options = DecodingOptions(beam_size=config.beam_size)
    device = choose_device(config.device)
    torch.manual_seed(config.seed)
    examples = datasets.read(config.data)
    splits = {name: datasets.of_split(examples, name) for name in ("train", "val")}
    words = (tokenize(text) for example in splits["train"] for text in example.captions)
    word_map = WordMap.build(words, config.minimum_count)

    network = ShowAttendTell(_model_config(config, len(word_map)))
    load_encoder_weights(network.encoder, config.encoder_weights)
    network.to(device)
    log.info(
        "%d training and %d validation photos, %d words, on %s",
        len(splits["train"]),
        len(splits["val"]),
        len(word_map),
        device,
    )
    encoded = {
        name: encode_split(network.encoder, split, config.image_size, device)
        for name, split in splits.items()
    }
    epochs = _fit(config, network, word_map, encoded, options, device)

    # What is shipped is scored once more, as it is read back.
    captioner = Captioner.load(config.out, device)
    scores = engine.evaluate(captioner, encoded["val"], options, device)
    card = model_card(config, examples, captioner, scores, epochs)
    checkpoint.save(config.out, captioner.network, captioner.word_map, card)
    return scores


def _model_config(config: TrainingConfig, vocabulary_size: int) -> ModelConfig:
    return ModelConfig(
        vocabulary_size=vocabulary_size,
        encoder=config.encoder,
        image_size=config.image_size,
        encoded_size=config.encoded_size or None,
        attention_size=config.attention_size,
        embedding_size=config.embedding_size,
        hidden_size=config.hidden_size,
        dropout=config.dropout,
        **normalisation(config.encoder),
    )


def _fit(
    config: TrainingConfig,
    network: ShowAttendTell,
    word_map: WordMap,
    encoded: dict[str, EncodedSplit],
    options: DecodingOptions,
    device: torch.device,
) -> list[dict[str, float]]:
    """Train until the end or until patience is lost; one row of figures an epoch."""
    batches = TrainingBatches(encoded["train"], word_map, config.batch_size)
    generator = torch.Generator().manual_seed(config.seed)
    optimizer = torch.optim.AdamW(
        network.decoder.parameters(), config.learning_rate, weight_decay=config.weight_decay
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, warm_up_and_cosine(config.epochs * len(batches), warm_up=len(batches) // 2)
    )
    criterion = CaptionLoss(config.alpha_c, config.label_smoothing)
    averaged = AveragedWeights(network, config.ema_decay)
    captioner = Captioner(averaged.network, word_map)
    bf16 = config.precision == "bf16" or (config.precision == "auto" and has_bf16(device))

    rows: list[dict[str, float]] = []
    best, since_best = -math.inf, 0
    for epoch in range(1, config.epochs + 1):
        start = time.monotonic()
        loss = engine.train_one_epoch(
            network=network,
            batches=batches.epoch(generator),
            total=len(batches),
            criterion=criterion,
            optimizer=optimizer,
            schedule=schedule,
            averaged=averaged,
            clip_norm=config.clip_norm,
            device=device,
            bf16=bf16,
            what=f"epoch {epoch}",
        )
        scores = engine.evaluate(captioner, encoded["val"], options, device)
        rows.append({"epoch": epoch, "loss": loss, **scores})
        seconds = time.monotonic() - start
        figures = "  ".join(f"{name} {value:.4f}" for name, value in scores.items())
        log.info("epoch %d: loss %.4f  %s  (%.0f s)", epoch, loss, figures, seconds)
        if scores["CIDEr"] > best:
            best, since_best = scores["CIDEr"], 0
            note = f"Training is under way: epoch {epoch}, validation CIDEr {best:.4f}.\n"
            checkpoint.save(config.out, captioner.network, word_map, note)
        else:
            since_best += 1
            if since_best >= config.patience:
                log.info("no better CIDEr for %d epochs: stopping", since_best)
                break
    return rows


def warm_up_and_cosine(steps: int, warm_up: int) -> Callable[[int], float]:
    """Factor of the learning rate at a step: linear to 1, then half a cosine to 0."""

    def factor(step: int) -> float:
        if step < warm_up:
            return (step + 1) / warm_up
        return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))

    return factor


def _check_writable(out: Path) -> None:
    """Refuse now what would fail after an hour."""
    if out.exists() and not (out / checkpoint.CONFIG).is_file() and any(out.iterdir()):
        raise ValueError(f"{out} holds something other than a checkpoint; choose another --out")
    out.parent.mkdir(parents=True, exist_ok=True)
