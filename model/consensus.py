"""Of several captions of a photo, which has most in common with what could be written of it.

Minimum Bayes risk (Kumar and Byrne 2004, https://aclanthology.org/N04-1022; of captions Devlin et
al. 2015, https://arxiv.org/abs/1505.04467): what people would write is unknown, so a caption is
compared with what the network holds likely. That is more than the captions found: every beam that
ran knew likely words to go on with (Tromble et al. 2008, https://aclanthology.org/D08-1065). As in
CIDEr (Vedantam et al. 2015, https://arxiv.org/abs/1411.5726) a rare word counts more than a common.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

# Exponent of the captions' weights; 2 and 4 had less CIDEr on Flickr8k's validation photos.
SHARPNESS = 3.0


class Pairs(NamedTuple):
    """Adjacent words of a photo's captions, and how often each was expected; shape = (N,).

    What stands there several times was expected so often in all.
    """

    first: np.ndarray  # ids
    second: np.ndarray
    times: np.ndarray


def by_consensus(
    captions: Sequence[Sequence[int]],
    scores: Sequence[float],
    on_the_way: Pairs,
    rarity: np.ndarray,
) -> list[int]:
    """Places of ``captions``, the one with most in common first; earlier ones before equals.

    It is Dice's coefficient of a caption's words and pairs of adjacent words, and the expected
    ones: twice those in common, divided by all of both. Expected are the pairs of the captions,
    each counted by its weight, and those of the beams, half and half, and with each pair its second
    word. A word counts by its rarity, a pair by that of both; either once in a caption.

    Parameters
    ----------
    captions
        Words' ids from ``<start>`` to ``<end>``, at least one between them, best first.
    scores
        What the search ranks them by; a caption's weight is ``exp(SHARPNESS * score)`` of 1 in all.
    on_the_way
        What the beams expected, see `_expected_pairs` of `model.beam_search`.
    rarity
        Of every id, see `model.word_map.WordMap.rarity`.
    """
    weights = np.exp(SHARPNESS * (np.array(scores) - max(scores)))
    shares = (weights / weights.sum() / 2).tolist()
    distinct_pairs = [set(pairwise(caption)) for caption in captions]

    # What the beams expected: in all, of the pairs that some caption has, and of every word.
    first, second, count = on_the_way.first, on_the_way.second, on_the_way.times / 2
    expected = float(count @ (rarity[first] + 2 * rarity[second]))
    known = np.array(sorted(set().union(*distinct_pairs)))
    code, codes = (a * len(rarity) + b for a, b in ((first, second), known.T))
    place = codes.searchsorted(code).clip(max=len(codes) - 1)
    sums = np.bincount(place, count * (codes[place] == code), len(codes))
    pairs = dict(zip(map(tuple, known.tolist()), sums.tolist(), strict=True))
    words = np.bincount(second, count, len(rarity)).tolist()
    # And the captions.
    rare = rarity.tolist()
    for distinct, share in zip(distinct_pairs, shares, strict=True):
        for a, b in distinct:
            pairs[a, b] += share
            words[b] += share
            expected += share * (rare[a] + 2 * rare[b])

    agreement = []
    for caption, distinct in zip(captions, distinct_pairs, strict=True):
        own = sum(rare[a] + 2 * rare[b] for a, b in pairwise(caption))
        common = sum(rare[word] * min(1.0, words[word]) for word in set(caption[1:]))
        common += sum((rare[a] + rare[b]) * min(1.0, pairs[a, b]) for a, b in distinct)
        agreement.append(common / (own + expected))
    return sorted(range(len(captions)), key=lambda place: -agreement[place])
