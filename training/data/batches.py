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

_SIDES = re.compile(r"\b(left|right)\b")  # what a flip would make untrue; of English alone
_CROP_ASPECT = (0.9, 1.1)


@dataclass(frozen=True)
class Batch:
    """B photos with their N captions."""

    names: list[str]
    rows: list[int]  # the photos' places in the prepared data
    images: torch.Tensor  # photos, uint8 (B, 3, S, S), or their grids, float16 (B, P, D)
    captions: torch.Tensor  # ids, padded, shape = (N, T)
    lengths: torch.Tensor  # with ``<start>`` and ``<end>``, shape = (N,)
    image_of: torch.Tensor  # row of ``images``, shape = (N,)

    def to(self, device: torch.device) -> Batch:
        parts = (self.images, self.captions, self.lengths, self.image_of)
        return Batch(self.names, self.rows, *(part.to(device, non_blocking=True) for part in parts))


class TrainingSet(Dataset[Batch]):
    """The photos of the training split; an item is a whole batch.

    Parameters
    ----------
    images
        Photos, uint8 (all, 3, S, S), or grids, float16 (all, P, D); memory-mapped, so that loader
        processes read the same pages.
    names, captions
        Of all photos.
    rows
        The photos to train on.
    augment
        Crop and flip; ``images`` must be photos. What happens to a photo depends on the seed, the
        epoch and the photo alone.
    crop
        Least share of a photo that a crop keeps, 0..1.
    """

    def __init__(
        self,
        images: np.ndarray,
        names: Sequence[str],
        captions: Sequence[Sequence[str]],
        rows: Sequence[int],
        word_map: WordMap,
        augment: bool = False,
        seed: int = 0,
        crop: float = 0.7,
    ) -> None:
        self.images, self.names, self.pad = images, names, word_map.pad
        self.augment, self.seed, self.crop = augment, seed, crop
        self.rows = [row for row in rows if captions[row]]
        self.ids = {
            row: [torch.tensor(word_map.encode(tokenize(text))) for text in captions[row]]
            for row in self.rows
        }
        self.sided = {row for row in rows if any(_SIDES.search(t.lower()) for t in captions[row])}

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, wanted: tuple[int, list[int]]) -> Batch:
        """The batch of an epoch and the photos' places in ``rows``."""
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
            names=[self.names[row] for row in rows],
            rows=rows,
            images=images,
            captions=pad_sequence(captions, batch_first=True, padding_value=self.pad),
            lengths=torch.tensor([len(ids) for ids in captions]),
            image_of=torch.arange(len(rows)).repeat_interleave(counts),
        )

    def _augmented(self, photo: torch.Tensor, epoch: int, row: int) -> torch.Tensor:
        random = np.random.default_rng([self.seed, epoch, row])
        side = photo.shape[-1]
        area, aspect = random.uniform(self.crop, 1.0), np.exp(random.uniform(*np.log(_CROP_ASPECT)))
        height = min(side, round(side * np.sqrt(area / aspect)))
        width = min(side, round(side * np.sqrt(area * aspect)))
        top, left = random.integers(side - height + 1), random.integers(side - width + 1)
        if random.random() < 0.5 and row not in self.sided:
            photo = photo.flip(-1)
        cropped: torch.Tensor = transforms.resized_crop(
            photo, int(top), int(left), height, width, [side, side], antialias=True
        )
        return cropped


class BatchOrder(Sampler[tuple[int, list[int]]]):
    """Which photos every batch of an epoch holds: drawn from the seed and the epoch alone.

    Of a batch, process r of w takes every w-th photo from the r-th on, so the batches of all
    processes together are those of one. A last batch too small for all to have a photo is left out.

    Parameters
    ----------
    size
        Photos.
    start
        Batches that are done already.
    """

    def __init__(
        self, size: int, batch_size: int, seed: int, epoch: int, rank: int, world: int, start: int
    ) -> None:
        order = np.random.default_rng([seed, epoch]).permutation(size)
        batches = [order[i : i + batch_size] for i in range(0, size, batch_size)]
        self.total = sum(len(batch) >= world for batch in batches)
        self._left = [(epoch, b[rank::world].tolist()) for b in batches[start : self.total]]

    def __len__(self) -> int:
        return len(self._left)

    def __iter__(self) -> Iterator[tuple[int, list[int]]]:
        return iter(self._left)


def load(
    dataset: TrainingSet, order: BatchOrder, workers: int, device: torch.device
) -> DataLoader[Batch]:
    """Batches in order, loaded ahead by ``workers`` processes."""
    return DataLoader(
        dataset,
        sampler=order,
        batch_size=None,
        num_workers=workers,
        pin_memory=device.type == "cuda",
        generator=torch.Generator(),  # the loader draws from it, and must not from the global one
        multiprocessing_context="spawn" if workers else None,
    )
