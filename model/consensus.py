"""Of several captions of a photo, which has most in common with what could be written of it.

Minimum Bayes risk (Kumar and Byrne 2004, https://aclanthology.org/N04-1022; of captions Devlin et
al. 2015, https://arxiv.org/abs/1505.04467): what people would write is unknown, so a caption is
compared with what the network holds likely. That is more than the captions found: every beam that
ran knew likely words to go on with (Tromble et al. 2008, https://aclanthology.org/D08-1065). As in
CIDEr (Vedantam et al. 2015, https://arxiv.org/abs/1411.5726) a rare word counts more than a common.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise

Pair = tuple[int, int]  # adjacent words' ids

# Exponent of the captions' weights; 2 and 4 had less CIDEr on Flickr8k's validation photos.
SHARPNESS = 3.0


def by_consensus(
    captions: Sequence[Sequence[int]],
    scores: Sequence[float],
    on_the_way: Mapping[Pair, float],
    rarity: Sequence[float],
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
        How often the beams expected each pair, see `_expected_pairs` of `model.beam_search`.
    rarity
        Of every id, see `model.word_map.WordMap.rarity`.
    """
    best = max(scores)
    weights = [math.exp(SHARPNESS * (score - best)) for score in scores]
    total = sum(weights)
    pairs = {pair: count / 2 for pair, count in on_the_way.items()}
    for caption, weight in zip(captions, weights, strict=True):
        for pair in set(pairwise(caption)):
            pairs[pair] = pairs.get(pair, 0.0) + weight / total / 2
    words: dict[int, float] = defaultdict(float)
    for (_, word), count in pairs.items():
        words[word] += count

    # Of a pair and its second word.
    expected = sum((rarity[a] + 2 * rarity[b]) * count for (a, b), count in pairs.items())
    agreement = []
    for caption in captions:
        own = sum(rarity[a] + 2 * rarity[b] for a, b in pairwise(caption))
        common = sum(rarity[word] * min(1.0, words[word]) for word in set(caption[1:]))
        for a, b in set(pairwise(caption)):
            common += (rarity[a] + rarity[b]) * min(1.0, pairs[a, b])
        agreement.append(common / (own + expected))
    return sorted(range(len(captions)), key=lambda place: -agreement[place])
