"""Batches in which a photo travels once with all of its captions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset, Sampler

from model.word_map import WordMap, tokenize
from training.data.augmentation import Augmentation
from training.data.photo import Photo
from training.data.soft_targets import SoftTargets, SoftTargetTable
from training.data.stacked import StackedArrays

_SIDES = re.compile(r"\b(left|right)\b")  # English words that a flip would make untrue


@dataclass(frozen=True)
class Batch:
    """B photos with their N captions."""

    photos: list[Photo]
    images: torch.Tensor  # pixels, uint8 (B, 3, S, S), or grids, float16 (B, P, D)
    captions: torch.Tensor  # ids, padded, shape = (N, T)
    lengths: torch.Tensor  # with ``<start>`` and ``<end>``, shape = (N,)
    image_of: torch.Tensor  # each caption's place in ``images``, shape = (N,)
    soft_targets: SoftTargets | None = None  # of the captions, if teachers are learned from

    def to(self, device: torch.device) -> Batch:
        tensors = (self.images, self.captions, self.lengths, self.image_of)
        images, captions, lengths, image_of = (
            tensor.to(device, non_blocking=True) for tensor in tensors
        )
        soft_targets = self.soft_targets.to(device) if self.soft_targets else None
        return Batch(self.photos, images, captions, lengths, image_of, soft_targets)


class TrainingSet(Dataset[Batch]):
    """The photos to train on; an item is a whole batch.

    Parameters
    ----------
    photos
        All photos of the prepared data.
    images
        Their pixels, uint8 (all, 3, S, S), or their grids, float16 (all, P, D); memory-mapped, so
        that loader processes read the same pages.
    rows
        Rows of the photos to train on.
    augmentation
        How photos are changed at random, if they are; ``images`` must be pixels. What happens to a
        photo depends on the seed, the epoch, its row and its copy alone.
    shares
        Folders of photos that an epoch goes through more or less than once: the number of photos
        of each, as they follow each other in ``rows``, and its repeats. By default all are used
        once.
    soft_targets
        What teachers teach about the photos, by their rows, if that is learned.
    """

    def __init__(
        self,
        photos: Sequence[Photo],
        images: np.ndarray | StackedArrays,
        rows: Sequence[int],
        word_map: WordMap,
        augmentation: Augmentation | None = None,
        seed: int = 0,
        shares: Sequence[tuple[int, float]] = (),
        soft_targets: SoftTargetTable | None = None,
    ) -> None:
        self.photos, self.images, self.rows, self.pad = photos, images, rows, word_map.pad
        self.augmentation, self.seed = augmentation, seed
        self.shares = shares or [(len(rows), 1.0)]
        self.soft_targets = soft_targets
        self.ids = {
            row: [torch.tensor(word_map.encode(tokenize(text))) for text in photos[row].captions]
            for row in rows
        }
        self.sided = {
            row for row in rows if any(_SIDES.search(text.lower()) for text in photos[row].captions)
        }

    def __len__(self) -> int:
        return len(self.rows)

    def places(self, epoch: int) -> NDArray[np.int64]:
        """Return the places of the photos that an epoch trains on, copies included.

        The copy c of the photo at place i in ``rows`` has the place ``c * len(self) + i``. Where
        repeats are not whole, their fraction takes other photos in each epoch, until all have had
        their turn.
        """
        found, start = [], 0
        for number, (count, repeats) in enumerate(self.shares):
            mine = np.arange(start, start + count)
            copies = int(repeats)
            found += [copy * len(self) + mine for copy in range(copies)]
            more = max(round((repeats - copies) * count), not copies)
            order = np.random.default_rng([self.seed, number]).permutation(mine)
            turn = np.arange(epoch * more, (epoch + 1) * more)
            found.append(copies * len(self) + order.take(turn, mode="wrap"))
            start += count
        return np.concatenate(found)

    def __getitem__(self, wanted: tuple[int, list[int]]) -> Batch:
        """Return the batch of an epoch and of some of its `places`."""
        epoch, places = wanted
        copies, rows = zip(*(self._copy_and_row(place) for place in places), strict=True)
        # A fancy index copies just these rows out of the memory map.
        images = torch.from_numpy(self.images[list(rows)])
        if self.augmentation:
            drawn = zip(images, rows, copies, strict=True)
            images = torch.stack([self._augmented(i, epoch, row, copy) for i, row, copy in drawn])
        captions = [ids for row in rows for ids in self.ids[row]]
        counts = torch.tensor([len(self.ids[row]) for row in rows])
        soft_targets = None
        if self.soft_targets:
            soft_targets = self.soft_targets.of_photos((row, self.ids[row]) for row in rows)
        return Batch(
            photos=[self.photos[row] for row in rows],
            images=images,
            captions=pad_sequence(captions, batch_first=True, padding_value=self.pad),
            lengths=torch.tensor([len(ids) for ids in captions]),
            image_of=torch.arange(len(rows)).repeat_interleave(counts),
            soft_targets=soft_targets,
        )

    def _copy_and_row(self, place: int) -> tuple[int, int]:
        copy, place = divmod(place, len(self))
        return copy, self.rows[place]

    def _augmented(self, pixels: torch.Tensor, epoch: int, row: int, copy: int) -> torch.Tensor:
        assert self.augmentation is not None
        random = np.random.default_rng([self.seed, epoch, row, *([copy] if copy else [])])
        return self.augmentation.augmented(pixels, random, may_flip=row not in self.sided)


class BatchOrder(Sampler[tuple[int, list[int]]]):
    """The photos of every batch of an epoch, drawn from the seed and the epoch alone.

    Process r of w takes every w-th photo of a batch from the r-th on, so the batches of all
    processes together are those of one process. A last batch too small for every process to have a
    photo is left out.

    Parameters
    ----------
    places
        Places of the photos of the epoch, or their number, if they are 0, 1, 2, ...
    start
        Batches of the epoch that are done already.
    """

    def __init__(
        self,
        places: int | NDArray[np.int64],
        batch_size: int,
        seed: int,
        epoch: int,
        rank: int = 0,
        world: int = 1,
        start: int = 0,
    ) -> None:
        order = np.random.default_rng([seed, epoch]).permutation(places)
        batches = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
        self.total = sum(len(batch) >= world for batch in batches)  # of the whole epoch
        self._left = [(epoch, b[rank::world].tolist()) for b in batches[start : self.total]]

    def __len__(self) -> int:
        return len(self._left)

    def __iter__(self) -> Iterator[tuple[int, list[int]]]:
        return iter(self._left)


def batch_loader(
    dataset: TrainingSet, order: BatchOrder, workers: int, device: torch.device
) -> DataLoader[Batch]:
    """Return the batches in order, loaded ahead by ``workers`` processes; 0 loads in line."""
    return DataLoader(
        dataset,
        sampler=order,
        batch_size=None,
        num_workers=workers,
        pin_memory=device.type == "cuda",
        generator=torch.Generator(),  # the loader draws from it, and must not from the global one
        multiprocessing_context="spawn" if workers else None,
    )
