"""Captions generated for the photos of a split, in batches: what scores are computed from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from model.captioner import Caption, Captioner
from model.decoding_options import DecodingOptions
from model.image import InvalidImage
from training.data.photo import Photo
from training.data.problems import InvalidDataset
from training.processes import Processes
from training.reporting.progress import progress

BATCH = 64  # photos captioned together


class GeneratedCaption(NamedTuple):
    """The best caption of one photo, and what its confidence is computed from.

    It is a `model.captioner.Caption` without the attention maps, which no score needs and which
    every process of a training would have to send to the others.
    """

    text: str
    log_prob: float  # natural logarithm, of all words and ``<end>``
    word_count: int  # without ``<end>``


def caption_files(
    captioner: Captioner, photos: Sequence[Photo], options: DecodingOptions
) -> list[GeneratedCaption]:
    """Caption photos from the bytes of their files, as a server does.

    Returns
    -------
    One caption a photo, in the order of ``photos``.

    Raises
    ------
    InvalidDataset
        A file is no photo; names it.
    """
    generated: list[GeneratedCaption] = []
    starts = range(0, len(photos), BATCH)
    for start in progress(starts, len(starts), f"captioning {len(photos)} photos"):
        batch = photos[start : start + BATCH]
        found = captioner.caption_each([photo.read_bytes() for photo in batch], options)
        for photo, captions in zip(batch, found, strict=True):
            if isinstance(captions, InvalidImage):
                raise InvalidDataset(f"{photo.file}: {captions}") from captions
            generated.append(_best(captions))
    return generated


def caption_rows(
    captioner: Captioner,
    images: np.ndarray,
    rows: Sequence[int],
    options: DecodingOptions,
    processes: Processes,
) -> list[GeneratedCaption]:
    """Caption photos that are decoded or encoded already; each process captions its share.

    Parameters
    ----------
    images
        Photos, uint8, shape = (all, 3, S, S), or grids of features, float16, shape = (all, P, D).
    rows
        Which of ``images`` to caption.

    Returns
    -------
    One caption a row, in the order of ``rows``; the same in every process.
    """
    share = rows[processes.rank :: processes.world]
    generated: list[GeneratedCaption] = []
    for start in range(0, len(share), BATCH):
        batch = torch.from_numpy(images[share[start : start + BATCH]])
        if batch.dtype == torch.uint8:
            found = captioner.caption_photos(batch, options)
        else:
            found = captioner.caption_grid(batch, options)
        generated += map(_best, found)
    shares = processes.gather(generated)
    return [shares[i % processes.world][i // processes.world] for i in range(len(rows))]


def _best(captions: Sequence[Caption]) -> GeneratedCaption:
    best = captions[0]
    return GeneratedCaption(best.text, best.log_prob, len(best.words))
