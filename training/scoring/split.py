"""A split of captioned photos to be scored on: prepared, or as `captioner prepare` reads them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from model import Captioner, DecodingOptions, image
from training.data import datasets
from training.data.photo import Photo
from training.data.prepared import DESCRIPTION, Prepared, require_no_checkpoint
from training.data.problems import InvalidDataset, summary
from training.data.splits import SPLITS
from training.processes import Processes
from training.scoring.captions import GeneratedCaption, caption_files, caption_rows

log = logging.getLogger("captioner")


@dataclass(frozen=True)
class Split:
    """The photos of a split, by name, and where their pixels come from.

    The order is the same whether the data is prepared or not. Samples, folds and resampled corpora
    are drawn by position: in another order the same photos would have other intervals.
    """

    photos: Sequence[Photo]
    pixels: np.ndarray | None  # of all prepared photos, uint8 (all, 3, S, S); None: from files
    rows: Sequence[int]  # of the split, in ``pixels``

    @property
    def names(self) -> list[str]:
        """The names of the photos."""
        return [photo.name for photo in self.photos]

    @property
    def references(self) -> list[tuple[str, ...]]:
        """The captions that people wrote, for each photo."""
        return [photo.captions for photo in self.photos]

    @classmethod
    def open(cls, data: Path, split: str, image_size: int, max_photos: int | None = None) -> Split:
        """Open a split of a data set, or its first ``max_photos`` photos by name.

        Raises
        ------
        ValueError
            There is no such data or split, or it is prepared for photos of another size.
        """
        if split not in SPLITS:
            raise ValueError(f"split is {split!r}; allowed: {', '.join(SPLITS)}")
        require_no_checkpoint(data)
        if (data / DESCRIPTION).is_file():
            prepared = Prepared.open(data)
            prepared.require_size(image_size)
            return cls.prepared(prepared, split, max_photos)
        dataset = datasets.read(data)
        if dataset.problems:
            log.warning("%s has problems: %s", data, summary(dataset.problems))
        photos = sorted(dataset.of_split(split), key=lambda photo: photo.name)[:max_photos]
        return cls(photos, None, [])

    @classmethod
    def prepared(cls, prepared: Prepared, split: str, max_photos: int | None = None) -> Split:
        """Return a split of prepared photos.

        Raises
        ------
        InvalidDataset
            There is no such split, or nobody has captioned the photos.
        """
        if not prepared.captioned:
            raise InvalidDataset(
                f"{prepared.folder} holds photos without captions, which cannot be scored on;"
                " `captioner teach` makes them photos to train on"
            )
        rows = prepared.rows(split)[:max_photos]
        return cls([prepared.photos[row] for row in rows], prepared.pixels, rows)

    def caption(self, captioner: Captioner, decoding: DecodingOptions) -> list[GeneratedCaption]:
        """Generate the captions that a server would reply with, one a photo, in order."""
        if self.pixels is None:
            return caption_files(captioner, self.photos, decoding)
        here = Processes(0, 1, captioner.device)
        return caption_rows(captioner, self.pixels, self.rows, decoding, here)

    def decoded(self, positions: Sequence[int], image_size: int) -> torch.Tensor:
        """Return some of the photos decoded, uint8, shape = (B, 3, image_size, image_size)."""
        if self.pixels is None:
            files = (self.photos[i].read_bytes() for i in positions)
            return torch.stack([image.decode(content, image_size) for content in files])
        return torch.from_numpy(self.pixels[[self.rows[i] for i in positions]])
