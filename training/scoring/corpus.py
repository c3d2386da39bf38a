"""Records of scoring: a corpus of captions with their references, and a metric's measurement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.word_map import tokenize

Floats = NDArray[np.float64]


class MetricUnavailable(RuntimeError):
    """A metric cannot be computed on this machine or of these captions; the message says why."""


@dataclass(frozen=True)
class Corpus:
    """The captions of N photos and their references: tokens joined by single spaces.

    The tokenizer is this project's own, `model.word_map.tokenize`, for all metrics. It gives the
    tokens of pycocoevalcap's for 99.9 % of Flickr8k's captions and needs no Java.
    """

    candidates: tuple[str, ...]
    references: tuple[tuple[str, ...], ...]

    @classmethod
    def tokenized(cls, candidates: Sequence[str], references: Sequence[Sequence[str]]) -> Corpus:
        """Make a corpus of one caption a photo, and of what people wrote about each photo.

        Raises
        ------
        ValueError
            There are no captions, there is another number of references, a photo has no reference,
            or no reference has a word.
        """
        if not candidates or len(candidates) != len(references):
            raise ValueError(f"{len(candidates)} captions for {len(references)} photos")
        if bare := [i for i, texts in enumerate(references) if not texts]:
            raise ValueError(f"{len(bare)} photos have no reference, the first is photo {bare[0]}")
        truth = tuple(tuple(" ".join(tokenize(text)) for text in texts) for texts in references)
        if not any(any(texts) for texts in truth):
            raise ValueError("no reference has a word in it")
        return cls(tuple(" ".join(tokenize(text)) for text in candidates), truth)


@dataclass(frozen=True)
class Measurement:
    """The scores that one metric gives a corpus of N photos, and the statistics they come from.

    A score is a function of S statistics summed over photos. Summed over photos drawn with
    replacement, the same statistics give the scores of a resampled corpus.
    """

    scores: dict[str, float]  # name of a score -> its value for the whole corpus
    rows: Floats  # the statistics of each photo, shape = (N, S)
    from_sums: Callable[[Floats], Floats]  # R sums of rows, (R, S) -> scores, (R, len(scores))
