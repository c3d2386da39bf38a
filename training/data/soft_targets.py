"""Soft targets: the words that teachers hold likely at each place of a caption.

The student learns the teachers' probabilities instead of a single true word (Hinton et al. 2015,
https://arxiv.org/abs/1503.02531), and on photos without captions those that the teachers found
(Kim and Rush 2016, https://arxiv.org/abs/1606.07947).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from model.word_map import WordMap
from training.data.mixture import Part


class SoftTargets(NamedTuple):
    """The soft targets of N captions, padded; the true word of a place has the rest to 1."""

    ids: torch.Tensor  # of the K likeliest words, shape = (N, T, K)
    probabilities: torch.Tensor  # of those words, times the share of soft targets; (N, T, K)

    def to(self, device: torch.device) -> SoftTargets:
        return SoftTargets(*(part.to(device, non_blocking=True) for part in self))


class SoftTargetTable:
    """The soft targets of all training photos of a mixture, in the words of a student.

    Parameters
    ----------
    parts
        Folders, at least one of them taught. The captions of the others have no soft targets.
    word_map
        The student's words. What the teachers gave to other words is shared out among these.
    share
        Share of the soft targets for captions that people wrote, 0..1. Captions that the teachers
        found are learned by soft targets alone: they are as true as the teachers are.
    """

    def __init__(self, parts: Sequence[Part], word_map: WordMap, share: float) -> None:
        width = max(part.taught.ids.shape[1] for part in parts if part.taught)
        ids, probabilities = [], []
        shares, counts = [], []  # of each photo
        for part in parts:
            rows = np.zeros(len(part.prepared.photos), np.int64)
            if part.taught:
                known = dict(zip(word_map.words, range(len(word_map)), strict=True))
                own = np.array([known.get(word, -1) for word in part.taught.vocabulary], np.int32)
                missing = ((0, 0), (0, width - part.taught.ids.shape[1]))
                ids.append(np.pad(own[part.taught.ids], missing, constant_values=-1))
                probabilities.append(np.pad(part.taught.probabilities, missing))
                rows[part.prepared.rows("train")] = part.taught.counts
            counts.append(rows)
            shares += [share if photo.captions else 1.0 for photo in part.prepared.photos]
        self._ids, self._probabilities = np.concatenate(ids), np.concatenate(probabilities)
        self._ends = np.concatenate([[0], *counts]).cumsum()
        self._shares = np.array(shares, np.float32)

    def of_photos(self, photos: Iterable[tuple[int, Sequence[torch.Tensor]]]) -> SoftTargets:
        """Return the soft targets of the captions of some photos, one photo after the other.

        Parameters
        ----------
        photos
            The row of each in the mixture, and the ids of its captions with ``<start>`` and
            ``<end>``.
        """
        ids: list[torch.Tensor] = []
        probabilities: list[torch.Tensor] = []
        for row, captions in photos:
            lengths = [len(caption) - 1 for caption in captions]
            for found, part in zip(
                (ids, probabilities), self._of_photo(row, sum(lengths)), strict=True
            ):
                found += torch.split(part, lengths)
        return SoftTargets(pad_sequence(ids, True), pad_sequence(probabilities, True))

    def _of_photo(self, row: int, places: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return ids and probabilities of all places of a photo, shape = (places, K)."""
        mine = slice(self._ends[row], self._ends[row + 1])
        ids, probabilities = self._ids[mine], self._probabilities[mine].astype(np.float32)
        if not len(ids):  # of a folder that is not taught
            ids, probabilities = (
                np.zeros((places, ids.shape[1]), a.dtype) for a in (ids, probabilities)
            )
        probabilities *= ids >= 0
        total = probabilities.sum(axis=1, keepdims=True)
        # Where the student knows none of the words, all of the target is the true word.
        probabilities *= self._shares[row] / np.where(total > 0, total, 1)
        return torch.from_numpy(ids.clip(0).astype(np.int64)), torch.from_numpy(probabilities)
