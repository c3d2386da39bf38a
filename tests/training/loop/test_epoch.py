"""One epoch on four rendered photos: what it changes, and the average of its weights."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from model import Captioner, DecodingOptions
from model.config import ModelConfig
from model.network import ShowAttendTell
from model.word_map import WordMap
from tests.training.batching import CPU, batches, training_set
from training.data.batches import TrainingSet
from training.data.grids import cached_grids
from training.data.prepared import Prepared
from training.loop.averaging import AveragedWeights
from training.loop.epoch import EpochProgress, train_one_epoch
from training.loop.losses import CaptionLoss
from training.loop.steps import CrossEntropyStep
from training.processes import Processes
from training.scoring.captions import caption_rows
from training.scoring.metrics import score


def fit(
    network: ShowAttendTell,
    dataset: TrainingSet,
    epochs: int,
    device: torch.device,
    averaged: AveragedWeights | None = None,
    rate: float = 0.02,
) -> list[float]:
    step = CrossEntropyStep(network, CaptionLoss(alpha_c=0.0))
    learning = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learning, rate)
    losses = []
    for epoch in range(epochs):
        done = EpochProgress()
        train_one_epoch(
            step=step,
            batches=batches(dataset, 4, epoch),
            total=1,
            done=done,
            optimizer=optimizer,
            set_rates=lambda batch: None,
            averaged=averaged or AveragedWeights(network, 0.0),
            clip_norm=5.0,
            bf16=False,
            processes=Processes(0, 1, device),
            after_batch=lambda: None,
            name="test",
        )
        losses.append(done.mean)
    return losses


@pytest.fixture
def spread_grids(prepared: Prepared, network: ShowAttendTell) -> np.ndarray:
    """A random encoder's features hardly differ between photos; here they do."""
    plain = np.array(cached_grids(network.encoder, prepared, CPU), dtype=np.float32)
    difference = plain - plain.mean(axis=0)
    spread: np.ndarray = (difference / difference.std()).astype(np.float16)
    return spread


@pytest.mark.slow
def test_overfits_four_photos(
    config: ModelConfig,
    prepared: Prepared,
    spread_grids: np.ndarray,
    word_map: WordMap,
    device: torch.device,
) -> None:
    torch.manual_seed(0)
    network = ShowAttendTell(config).to(device)
    one_each = [dataclasses.replace(p, captions=p.captions[:1]) for p in prepared.photos]
    rows = prepared.rows("train")
    dataset = TrainingSet(one_each, spread_grids, rows, word_map)
    frozen = {n: p.clone() for n, p in network.encoder.named_parameters()}
    losses = fit(network, dataset, 100, device)
    assert losses[0] > 2
    assert losses[-1] < 0.05
    assert all(torch.equal(p, frozen[n]) for n, p in network.encoder.named_parameters())
    captioner = Captioner(network, word_map)
    processes = Processes(0, 1, device)
    generated = caption_rows(captioner, spread_grids, rows, DecodingOptions(), processes)
    texts = [caption.text for caption in generated]
    assert score(texts, [one_each[row].captions for row in rows])["BLEU-3"] == pytest.approx(
        1.0, abs=1e-3
    )


def test_fine_tuning_moves_the_upper_stages_only(
    network: ShowAttendTell, prepared: Prepared, word_map: WordMap
) -> None:
    network.encoder.fine_tune()
    before = {n: t.clone() for n, t in network.encoder.state_dict().items()}
    fit(network, training_set(prepared, word_map), 1, CPU.device, rate=0.01)
    moved = {n for n, t in network.encoder.state_dict().items() if not torch.equal(t, before[n])}
    learning = {n for n, p in network.encoder.named_parameters() if p.requires_grad}
    assert moved
    assert moved <= learning  # no statistics of BatchNorm among them


def test_a_loss_that_is_not_finite_stops_before_the_step(
    network: ShowAttendTell, prepared: Prepared, spread_grids: np.ndarray, word_map: WordMap
) -> None:
    spread_grids[2] = np.inf
    before = {n: p.clone() for n, p in network.named_parameters()}
    with pytest.raises(ValueError, match=r"loss of batch 0 is nan.*blue_circle\.jpg"):
        fit(network, training_set(prepared, word_map, spread_grids), 1, CPU.device)
    assert all(torch.equal(p, before[n]) for n, p in network.named_parameters())


def test_average_of_weights(
    network: ShowAttendTell, prepared: Prepared, spread_grids: np.ndarray, word_map: WordMap
) -> None:
    averaged = AveragedWeights(network, 0.5)
    dataset = training_set(prepared, word_map, spread_grids)
    history = []
    for _ in range(6):
        fit(network, dataset, 1, CPU.device, averaged, rate=0.001)
        history.append(network.decoder.fc.weight.detach().clone())
    wanted = history[0]
    for step, value in enumerate(history[1:], 1):
        d = min(0.5, (1 + step) / (10 + step))
        wanted = d * wanted + (1 - d) * value
    torch.testing.assert_close(averaged.network.decoder.fc.weight, wanted)
    assert AveragedWeights(network, 0.0).network is network
