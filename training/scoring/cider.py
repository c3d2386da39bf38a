"""CIDEr-D as the reward of a training: fast, with the training photos' document frequencies."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

Words = Sequence[str]
Ngram = tuple[str, ...]
MAX_WORDS = 4  # of an n-gram
SIGMA = 6.0  # standard deviation of the penalty on a difference in length, bigrams


class CiderD:
    """Scores captions of photos whose references are known (Vedantam et al. 2015, section 6).

    The scores are those of the reference scorer, pycocoevalcap's ``Cider``, but for the document
    frequencies: here an n-gram's is the number of photos of ``references`` that have it, whichever
    captions are scored.

    Parameters
    ----------
    references
        The words of each caption that people wrote, by the name of the photo.
    """

    def __init__(self, references: Mapping[str, Sequence[Words]]) -> None:
        self.references = references
        self.photos_with: Counter[Ngram] = Counter()
        for captions in references.values():
            self.photos_with.update({ngram for words in captions for ngram in _ngrams(words)})
        self._log_photos = math.log(len(references))

    def scores(self, photo: str, captions: Iterable[Words]) -> list[float]:
        """Return CIDEr-D of several captions of one photo, each 0..10."""
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
        squares = [0.0] * MAX_WORDS
        for ngram, weight in weights.items():
            squares[len(ngram) - 1] += weight * weight
        return _Vector(weights, [math.sqrt(square) for square in squares], max(0, len(words) - 1))


class _Vector(NamedTuple):
    """A caption as the weights of its n-grams."""

    weights: dict[Ngram, float]  # term frequency times inverse document frequency
    norms: list[float]  # Euclidean, of the weights of n-grams of 1 to MAX_WORDS words
    bigrams: int  # how many; the reference scorer takes this for the caption's length


def _ngrams(words: Words) -> list[Ngram]:
    return [
        tuple(words[i : i + n]) for n in range(1, MAX_WORDS + 1) for i in range(len(words) - n + 1)
    ]


def _similarity(candidate: _Vector, reference: _Vector) -> float:
    """Return the mean over n of the cosines of two captions, times the penalty on their lengths.

    A weight of the candidate counts as at most the reference's (the D in CIDEr-D).
    """
    products = [0.0] * MAX_WORDS
    for ngram, weight in candidate.weights.items():
        if other := reference.weights.get(ngram):
            products[len(ngram) - 1] += min(weight, other) * other
    cosines = (
        product / (norm * other) if norm and other else product
        for product, norm, other in zip(products, candidate.norms, reference.norms, strict=True)
    )
    difference = candidate.bigrams - reference.bigrams
    return math.exp(-(difference**2) / (2 * SIGMA**2)) * sum(cosines) / MAX_WORDS
