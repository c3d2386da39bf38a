from __future__ import annotations

import math
import random
from collections import Counter
from itertools import pairwise

import pytest

from model import DecodingOptions
from model.beam_search import beam_search
from model.consensus import SHARPNESS, by_consensus
from tests.model.test_beam_search import WORD_MAP, by_score, scripted


def dice(one: list[int], other: list[int]) -> float:
    """By its definition, on multisets."""
    ours, theirs = (Counter(pairwise([None, *words, None])) for words in (one, other))
    return 2 * (ours & theirs).total() / (ours.total() + theirs.total())


def test_the_one_most_like_the_others_comes_first() -> None:
    odd, three = [1, 2, 3], [[4, 5, 6, 7], [4, 5, 6], [4, 5, 6, 8]]
    assert by_consensus([odd, *three], [-1.0] * 4) == [2, 1, 3, 0]


def test_a_likely_caption_counts_more() -> None:
    odd, three = [1, 2, 3], [[4, 5, 6, 7], [4, 5, 6], [4, 5, 6, 8]]
    assert by_consensus([odd, *three], [-1.0, -3.0, -3.0, -3.0])[0] == 0


@pytest.mark.parametrize("seed", range(20))
def test_it_is_the_expected_dice_coefficient(seed: int) -> None:
    """Of few words, so that captions share pairs and repeat them."""
    draw = random.Random(seed)
    captions = [[draw.randrange(3) for _ in range(draw.randint(1, 9))] for _ in range(8)]
    scores = sorted((draw.uniform(-3, 0) for _ in captions), reverse=True)
    weights = [math.exp(SHARPNESS * score) for score in scores]
    agreement = [
        sum(w * dice(ours, theirs) for w, theirs in zip(weights, captions, strict=True))
        for ours in captions
    ]
    order = by_consensus(captions, scores)
    assert sorted(order) == list(range(8))
    ranked = [agreement[place] for place in order]
    assert ranked == pytest.approx(sorted(agreement, reverse=True))


def test_equals_stay_in_their_order() -> None:
    assert by_consensus([[1, 2], [3, 4], [5, 6]], [-1.0, -1.0, -1.0]) == [0, 1, 2]


@pytest.mark.parametrize("num_captions", [1, 2, 6])
def test_the_search_ranks_all_its_captions_and_tells_some(num_captions: int) -> None:
    decoder = scripted(9, seed=3)
    ranked_by_score = beam_search(decoder, decoder.grid(), WORD_MAP, by_score(6, 6, 7))
    chosen = beam_search(decoder, decoder.grid(), WORD_MAP, DecodingOptions(6, num_captions, 7))
    changed = 0
    for all_found, found in zip(ranked_by_score, chosen, strict=True):
        order = by_consensus([h.tokens for h in all_found], [h.score for h in all_found])
        wanted = [all_found[place] for place in order[:num_captions]]
        assert [h.tokens for h in found] == [h.tokens for h in wanted]
        assert [h.log_prob for h in found] == [h.log_prob for h in wanted]
        changed += found[0].tokens != all_found[0].tokens
    assert changed  # or the scripted decoder would not tell the two apart
