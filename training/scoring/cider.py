"""CIDEr-D as a reward while training: fast, with the training photos' document frequencies."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

Words = Sequence[str]
Ngram = tuple[str, ...]
LONGEST = 4  # words of an n-gram
SIGMA = 6.0  # of the penalty on a difference in length


class CiderD:
    """Scores captions of photos whose references are known (Vedantam et al. 2015, section 6).

    It is what pycocoevalcap's ``Cider`` gives for a corpus, but an n-gram's document frequency is
    the number of ``references``' photos that have it, whatever is scored.

    Parameters
    ----------
    references
        For each photo the words of what people wrote.
    """

    def __init__(self, references: Mapping[int, Sequence[Words]]) -> None:
        self.references = references
        self.photos_with: Counter[Ngram] = Counter()
        for captions in references.values():
            self.photos_with.update({ngram for words in captions for ngram in _ngrams(words)})
        self._log_photos = math.log(len(references))

    def scores(self, photo: int, captions: Iterable[Words]) -> list[float]:
        """Of several captions of one photo, each 0 to 10."""
        references = [self._vector(words) for words in self.references[photo]]
        return [
            10 * sum(_similarity(candidate, reference) for reference in references)
            / len(references)
            for candidate in map(self._vector, captions)
        ]  # fmt: skip

    def _vector(self, words: Words) -> _Vector:
        weights = {
            ngram: count * (self._log_photos - math.log(max(1, self.photos_with[ngram])))
            for ngram, count in Counter(_ngrams(words)).items()
        }
        squares = [0.0] * LONGEST
        for ngram, weight in weights.items():
            squares[len(ngram) - 1] += weight * weight
        return _Vector(weights, [math.sqrt(square) for square in squares], max(0, len(words) - 1))


class _Vector(NamedTuple):
    weights: dict[Ngram, float]  # term frequency times inverse document frequency
    norms: list[float]  # of the n-grams of 1 to LONGEST words
    bigrams: int  # the length that the referee compares


def _ngrams(words: Words) -> list[Ngram]:
    return [
        tuple(words[i : i + n]) for n in range(1, LONGEST + 1) for i in range(len(words) - n + 1)
    ]


def _similarity(candidate: _Vector, reference: _Vector) -> float:
    """The mean over n of the cosines, a candidate's weights cut to the reference's."""
    products = [0.0] * LONGEST
    for ngram, weight in candidate.weights.items():
        if other := reference.weights.get(ngram):
            products[len(ngram) - 1] += min(weight, other) * other
    cosines = (
        product / (ours * theirs) if ours and theirs else product
        for product, ours, theirs in zip(products, candidate.norms, reference.norms, strict=True)
    )
    apart = candidate.bigrams - reference.bigrams
    return math.exp(-(apart**2) / (2 * SIGMA**2)) * sum(cosines) / LONGEST
