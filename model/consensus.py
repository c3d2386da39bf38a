"""Of several captions of a photo, which has most in common with the others.

Minimum Bayes risk (Kumar and Byrne 2004, https://aclanthology.org/N04-1022; of captions Devlin et
al. 2015, https://arxiv.org/abs/1505.04467): what people would write is unknown, so a caption is
compared with the captions that the network holds likely.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

# Exponent of the captions' weights; 1 and 4 scored lower on Flickr8k's validation photos.
SHARPNESS = 2.0
EDGE = -1  # before the first word and after the last


def by_consensus(captions: Sequence[Sequence[int]], scores: Sequence[float]) -> list[int]:
    """Places of ``captions``, the one most like all of them first; earlier ones before equals.

    A caption's likeness to another is Dice's coefficient of their pairs of adjacent words, the
    beginning and the end counted as words: twice the pairs that both have, divided by the pairs
    that they have in all.

    Parameters
    ----------
    captions
        Words' ids, best first.
    scores
        What the search ranks them by; a caption counts ``exp(SHARPNESS * score)``.
    """
    pairs = [_pairs(caption) for caption in captions]
    best = max(scores)
    weights = [math.exp(SHARPNESS * (score - best)) for score in scores]
    agreement = [
        sum(
            weight * len(ours & theirs) / (len(ours) + len(theirs))
            for theirs, weight in zip(pairs, weights, strict=True)
        )
        for ours in pairs
    ]
    return sorted(range(len(captions)), key=lambda place: -agreement[place])


def _pairs(caption: Sequence[int]) -> set[tuple[int, int, int]]:
    """Of adjacent words; a pair's second occurrence is told from its first."""
    seen: dict[tuple[int, int], int] = {}
    pairs = set()
    for pair in zip([EDGE, *caption], [*caption, EDGE], strict=True):
        seen[pair] = seen.get(pair, 0) + 1
        pairs.add((*pair, seen[pair]))
    return pairs
