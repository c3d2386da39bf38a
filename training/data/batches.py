"""Batches in which a photo travels once with all of its captions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset, Sampler
from torchvision.transforms.v2 import functional as transforms

from model.word_map import WordMap, tokenize
from training.data.photo import Photo

_SIDES = re.compile(r"\b(left|right)\b")  # English words that a flip would make untrue
_CROP_ASPECT = (0.9, 1.1)


@dataclass(frozen=True)
class Batch:
    """B photos with their N captions."""

    photos: list[Photo]
    images: torch.Tensor  # pixels, uint8 (B, 3, S, S), or grids, float16 (B, P, D)
    captions: torch.Tensor  # ids, padded, shape = (N, T)
    lengths: torch.Tensor  # with ``<start>`` and ``<end>``, shape = (N,)
    image_of: torch.Tensor  # each caption's place in ``images``, shape = (N,)

    def to(self, device: torch.device) -> Batch:
        tensors = (self.images, self.captions, self.lengths, self.image_of)
        return Batch(self.photos, *(tensor.to(device, non_blocking=True) for tensor in tensors))


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
    augment
        Crop and flip; ``images`` must be pixels. What happens to a photo depends on the seed, the
        epoch and its row alone.
    crop
        Smallest share of a photo that a crop keeps, 0..1.
    """

    def __init__(
        self,
        photos: Sequence[Photo],
        images: np.ndarray,
        rows: Sequence[int],
        word_map: WordMap,
        augment: bool = False,
        seed: int = 0,
        crop: float = 0.7,
    ) -> None:
        self.photos, self.images, self.rows, self.pad = photos, images, rows, word_map.pad
        self.augment, self.seed, self.crop = augment, seed, crop
        self.ids = {
            row: [torch.tensor(word_map.encode(tokenize(text))) for text in photos[row].captions]
            for row in rows
        }
        self.sided = {
            row for row in rows if any(_SIDES.search(text.lower()) for text in photos[row].captions)
        }

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, wanted: tuple[int, list[int]]) -> Batch:
        """Return the batch of an epoch and of the photos' places in ``rows``."""
        epoch, places = wanted
        rows = [self.rows[place] for place in places]
        # A fancy index copies just these rows out of the memory map.
        images = torch.from_numpy(self.images[rows])
        if self.augment:
            images = torch.stack(
                [self._augmented(i, epoch, row) for i, row in zip(images, rows, strict=True)]
            )
        captions = [ids for row in rows for ids in self.ids[row]]
        counts = torch.tensor([len(self.ids[row]) for row in rows])
        return Batch(
            photos=[self.photos[row] for row in rows],
            images=images,
            captions=pad_sequence(captions, batch_first=True, padding_value=self.pad),
            lengths=torch.tensor([len(ids) for ids in captions]),
            image_of=torch.arange(len(rows)).repeat_interleave(counts),
        )

    def _augmented(self, pixels: torch.Tensor, epoch: int, row: int) -> torch.Tensor:
        random = np.random.default_rng([self.seed, epoch, row])
        side = pixels.shape[-1]
        area, aspect = random.uniform(self.crop, 1.0), np.exp(random.uniform(*np.log(_CROP_ASPECT)))
        height = min(side, round(side * np.sqrt(area / aspect)))
        width = min(side, round(side * np.sqrt(area * aspect)))
        top, left = random.integers(side - height + 1), random.integers(side - width + 1)
        if random.random() < 0.5 and row not in self.sided:
            pixels = pixels.flip(-1)
        cropped: torch.Tensor = transforms.resized_crop(
            pixels, int(top), int(left), height, width, [side, side], antialias=True
        )
        return cropped


class BatchOrder(Sampler[tuple[int, list[int]]]):
    """The photos of every batch of an epoch, drawn from the seed and the epoch alone.

    Process r of w takes every w-th photo of a batch from the r-th on, so the batches of all
    processes together are those of one process. A last batch too small for every process to have a
    photo is left out.

    Parameters
    ----------
    size
        Number of photos.
    start
        Batches of the epoch that are done already.
    """

    def __init__(
        self,
        size: int,
        batch_size: int,
        seed: int,
        epoch: int,
        rank: int = 0,
        world: int = 1,
        start: int = 0,
    ) -> None:
        order = np.random.default_rng([seed, epoch]).permutation(size)
        batches = [order[i : i + batch_size] for i in range(0, size, batch_size)]
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
