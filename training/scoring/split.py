"""A split of captioned photos to judge, prepared or as `captioner prepare` reads them."""

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
from training.reporting.report import chosen, write_samples
from training.scoring.captions import GeneratedCaption, caption_files, caption_rows

log = logging.getLogger("captioner")


@dataclass(frozen=True)
class Split:
    """Photos with people's captions."""

    names: Sequence[str]
    references: Sequence[Sequence[str]]
    photos: np.ndarray | None  # of prepared data all, uint8, shape = (all, 3, S, S)
    rows: Sequence[int]  # those of the split
    files: Sequence[Path | TarMember]  # of other data

    @classmethod
    def open(cls, data: Path, split: str, image_size: int, most: int | None = None) -> Split:
        """Its first photos, or all; by name, so that prepared or not they are the same.

        Samples, folds and resampled corpora are drawn by place: in another order the same photos
        would have other intervals.

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
            rows = prepared.rows(split)[:most]
            return cls(
                names=[prepared.names[row] for row in rows],
                references=[prepared.captions[row] for row in rows],
                photos=prepared.photos,
                rows=rows,
                files=[],
            )
        dataset = datasets.read(data)
        if dataset.problems:
            log.warning(
                "%s has problems: %s", data, datasets.summary(datasets.by_kind(dataset.problems))
            )
        found = datasets.of_split(dataset.examples, split)
        examples = sorted(found, key=lambda example: example.name)[:most]
        return cls(
            names=[example.name for example in examples],
            references=[example.captions for example in examples],
            photos=None,
            rows=[],
            files=[example.photo for example in examples],
        )

    def caption(self, captioner: Captioner, decoding: DecodingOptions) -> list[GeneratedCaption]:
        """The captions that would be served, in order."""
        if self.photos is None:
            return caption_files(captioner, self.files, decoding)
        here = Processes(0, 1, captioner.device)
        return caption_rows(captioner, self.photos, self.rows, decoding, here)

    def write_samples(
        self, captioner: Captioner, out: Path, decoding: DecodingOptions, seed: int
    ) -> None:
        """Draw some of the photos, chosen by the seed, with their captions to a PNG."""
        places = chosen(len(self.names), seed)
        if self.photos is None:
            size = captioner.network.config.image_size
            decoded = [image.decode(self.files[i].read_bytes(), size) for i in places]
            photos = torch.stack(decoded)
        else:
            photos = torch.from_numpy(self.photos[[self.rows[i] for i in places]])
        title = f"{len(places)} of {len(self.names)} photos, chosen by seed {seed}"
        references = [self.references[i] for i in places]
        write_samples(captioner, photos, references, out, title, decoding)
