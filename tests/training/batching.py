"""Tiny prepared photos as batches."""

from __future__ import annotations

import torch

from model.word_map import WordMap
from training.data.batches import Batch, BatchOrder, TrainingSet, batch_loader
from training.data.prepared import Prepared
from training.processes import Processes

CPU = Processes(0, 1, torch.device("cpu"))


def training_set(prepared: Prepared, word_map: WordMap, images=None, **options) -> TrainingSet:
    images = prepared.pixels if images is None else images
    return TrainingSet(prepared.photos, images, prepared.rows("train"), word_map, **options)


def batches(dataset: TrainingSet, size: int, epoch: int = 0, **share: int) -> list[Batch]:
    order = BatchOrder(len(dataset), size, 1, epoch, **share)
    return list(batch_loader(dataset, order, 0, CPU.device))
