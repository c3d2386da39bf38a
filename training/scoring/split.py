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
from training.data.datasets import SPLITS, TarMember
from training.data.prepared import DESCRIPTION, Prepared, require_no_checkpoint
from training.processes import Processes
from training.scoring.captions import GeneratedCaption, caption_files, caption_rows

log = logging.getLogger("captioner")


@dataclass(frozen=True)
class Split:
    """The photos of a split with people's captions, by name.

    The order is the same whether the data is prepared or not. Samples, folds and resampled corpora
    are drawn by position: in another order the same photos would have other intervals.
    """

    names: Sequence[str]
    references: Sequence[Sequence[str]]  # for each photo what people wrote
    files: Sequence[Path | TarMember]  # of data that is not prepared
    images: np.ndarray | None  # all photos of prepared data, uint8, shape = (all, 3, S, S)
    rows: Sequence[int]  # which of ``images`` are of the split

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
            rows = prepared.rows(split)[:max_photos]
            return cls(
                names=[prepared.names[row] for row in rows],
                references=[prepared.captions[row] for row in rows],
                files=[],
                images=prepared.photos,
                rows=rows,
            )
        dataset = datasets.read(data)
        if dataset.problems:
            log.warning(
                "%s has problems: %s", data, datasets.summary(datasets.by_kind(dataset.problems))
            )
        found = datasets.of_split(dataset.examples, split)
        examples = sorted(found, key=lambda example: example.name)[:max_photos]
        return cls(
            names=[example.name for example in examples],
            references=[example.captions for example in examples],
            files=[example.photo for example in examples],
            images=None,
            rows=[],
        )

    def caption(self, captioner: Captioner, decoding: DecodingOptions) -> list[GeneratedCaption]:
        """Generate the captions that a server would reply with, one a photo, in order."""
        if self.images is None:
            return caption_files(captioner, self.files, decoding)
        here = Processes(0, 1, captioner.device)
        return caption_rows(captioner, self.images, self.rows, decoding, here)

    def photos(self, positions: Sequence[int], image_size: int) -> torch.Tensor:
        """Return some of the photos decoded, uint8, shape = (B, 3, image_size, image_size)."""
        if self.images is None:
            files = (self.files[i] for i in positions)
            return torch.stack([image.decode(file.read_bytes(), image_size) for file in files])
        return torch.from_numpy(self.images[[self.rows[i] for i in positions]])
