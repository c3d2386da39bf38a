"""Consensus: rank captions of a photo by what they share with all that could be written of it.

This is minimum Bayes risk decoding (Kumar and Byrne 2004, https://aclanthology.org/N04-1022; for
captions Devlin et al. 2015, https://arxiv.org/abs/1505.04467): what people would write is unknown,
so a caption is compared with what the network considers likely. That is more than the captions
found: every beam of the search had likely next words (Tromble et al. 2008,
https://aclanthology.org/D08-1065). A rare word counts more than a common one, as in CIDEr (Vedantam
et al. 2015, https://arxiv.org/abs/1411.5726).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

# The exponent of the captions' weights; 2 and 4 gave less CIDEr on Flickr8k's validation photos.
SHARPNESS = 3.0


class Pairs(NamedTuple):
    """Pairs of adjacent words, and how often each was expected in a photo's caption; shape = (N,).

    A pair may occur several times; its counts add up.
    """

    first: np.ndarray  # ids
    second: np.ndarray
    counts: np.ndarray


def by_consensus(
    captions: Sequence[Sequence[int]],
    scores: Sequence[float],
    expected_pairs: Pairs,
    rarity: np.ndarray,
) -> list[int]:
    """Return the places of ``captions`` in a new order, the one with most in common first.

    The measure is Dice's coefficient of a caption's words and pairs of adjacent words and the
    expected ones: twice the part in common, divided by the sum of both. Half of what is expected
    are the captions' pairs, each counted by its caption's weight; half are the beams' pairs; each
    pair brings its second word. A word counts by its rarity, a pair by the rarity of both words;
    either counts once in a caption. Captions that are equal keep their order.

    Parameters
    ----------
    captions
        Ids from ``<start>`` to ``<end>``, at least one word between them, best first.
    scores
        The search's scores; a caption's weight is its share of ``exp(SHARPNESS * score)``.
    expected_pairs
        The pairs that the beams expected, see `model.hypotheses.Record.expected`.
    rarity
        The rarity of every id, see `model.word_map.WordMap.rarity`.
    """
    weights = np.exp(SHARPNESS * (np.array(scores) - max(scores)))
    shares = (weights / weights.sum() / 2).tolist()
    expected = _expected(captions, shares, expected_pairs, rarity)
    agreement = [_agreement(caption, expected) for caption in captions]
    return sorted(range(len(captions)), key=lambda place: -agreement[place])


class _Expected(NamedTuple):
    """How often pairs and words were expected by captions and beams, half and half."""

    pairs: dict[tuple[int, int], float]  # the pairs that some caption has
    words: dict[int, float]  # the words of the captions
    rare: dict[int, float]  # their rarity
    total: float  # the sum over all pairs and words, weighted by rarity


def _expected(
    captions: Sequence[Sequence[int]],
    shares: Sequence[float],
    expected_pairs: Pairs,
    rarity: np.ndarray,
) -> _Expected:
    """Add up what the captions, each with its share, and the beams expected."""
    first, second, counts = expected_pairs.first, expected_pairs.second, expected_pairs.counts / 2
    total = float(counts @ (rarity[first] + 2 * rarity[second]))
    distinct = [set(pairwise(caption)) for caption in captions]
    known = np.array(sorted(set().union(*distinct)))
    code, codes = (a * len(rarity) + b for a, b in ((first, second), known.T))
    place = codes.searchsorted(code).clip(max=len(codes) - 1)
    sums = np.bincount(place, counts * (codes[place] == code), len(codes))
    pairs = dict(zip(map(tuple, known.tolist()), sums.tolist(), strict=True))
    ids = sorted(set().union(*captions))  # few of V: dictionaries of them are faster than lists
    by_word = np.bincount(second, counts, len(rarity))
    words, rare = (dict(zip(ids, of[ids].tolist(), strict=True)) for of in (by_word, rarity))
    for own, share in zip(distinct, shares, strict=True):
        for a, b in own:
            pairs[a, b] += share
            words[b] += share
            total += share * (rare[a] + 2 * rare[b])
    return _Expected(pairs, words, rare, total)


def _agreement(caption: Sequence[int], expected: _Expected) -> float:
    """Return half of Dice's coefficient of a caption with what was expected."""
    rare = expected.rare
    own = sum(rare[a] + 2 * rare[b] for a, b in pairwise(caption))
    common = sum(rare[word] * min(1.0, expected.words[word]) for word in set(caption[1:]))
    common += sum(
        (rare[a] + rare[b]) * min(1.0, expected.pairs[a, b]) for a, b in set(pairwise(caption))
    )
    return common / (own + expected.total)
