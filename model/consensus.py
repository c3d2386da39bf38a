"""Of several captions of a photo, which has most in common with what could be written of it.

Minimum Bayes risk (Kumar and Byrne 2004, https://aclanthology.org/N04-1022; of captions Devlin et
al. 2015, https://arxiv.org/abs/1505.04467): what people would write is unknown, so a caption is
compared with what the network holds likely. That is more than the captions found: every beam that
ran knew likely words to go on with (Tromble et al. 2008, https://aclanthology.org/D08-1065).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

Pair = tuple[int, int]  # adjacent words' ids

# Exponent of the captions' weights; 1 and 4 scored lower on Flickr8k's validation photos.
SHARPNESS = 2.0


def by_consensus(
    captions: Sequence[Sequence[int]], scores: Sequence[float], on_the_way: Mapping[Pair, float]
) -> list[int]:
    """Places of ``captions``, the one with most in common first; earlier ones before equals.

    It is Dice's coefficient of a caption's pairs of adjacent words and the expected ones: twice
    those in common, divided by all of both. Expected are the pairs of the captions, each counted
    by its weight, and those of the beams, half and half. A pair counts once in a caption.

    Parameters
    ----------
    captions
        Words' ids from ``<start>`` to ``<end>``, best first.
    scores
        What the search ranks them by; a caption's weight is ``exp(SHARPNESS * score)`` of 1 in all.
    on_the_way
        How often the beams expected each pair, see `_expected_pairs` of `model.beam_search`.
    """
    pairs = [set(pairwise(caption)) for caption in captions]
    best = max(scores)
    weights = [math.exp(SHARPNESS * (score - best)) for score in scores]
    total = sum(weights)
    expected = {pair: count / 2 for pair, count in on_the_way.items()}
    for ours, weight in zip(pairs, weights, strict=True):
        for pair in ours:
            expected[pair] = expected.get(pair, 0.0) + weight / total / 2
    length = sum(expected.values())
    agreement = [
        sum(min(1.0, expected[pair]) for pair in ours) / (len(caption) - 1 + length)
        for ours, caption in zip(pairs, captions, strict=True)
    ]
    return sorted(range(len(captions)), key=lambda place: -agreement[place])
