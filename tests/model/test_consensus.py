from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise, product

import numpy as np
import pytest

from model import DecodingOptions
from model.beam_search import beam_search
from model.consensus import SHARPNESS, Pairs, by_consensus
from tests.model.test_beam_search import WORD_MAP, WORDS, by_score, scripted

START, END = 8, 9
ODD, ALIKE = [START, 1, 2, 3, END], [[START, 4, 5, 6, *more, END] for more in ([7], [], [0])]
EQUALLY = np.array([1.0] * 8 + [0.0] * 2)  # rare is every word but the start and the end


def as_pairs(expected: Mapping[tuple[int, int], float]) -> Pairs:
    first, second = np.array(list(expected), dtype=np.int64).reshape(-1, 2).T
    return Pairs(first, second, np.array(list(expected.values())))


NOTHING = as_pairs({})


def test_the_one_most_like_the_others_comes_first() -> None:
    assert by_consensus([ODD, *ALIKE], [-1.0] * 4, NOTHING, EQUALLY) == [2, 1, 3, 0]


def test_a_likely_caption_counts_more() -> None:
    assert by_consensus([ODD, *ALIKE], [-1.0, -3.0, -3.0, -3.0], NOTHING, EQUALLY)[0] == 0


def test_what_the_beams_expected_counts_as_much_as_all_captions() -> None:
    expected = as_pairs(dict.fromkeys(pairwise(ALIKE[0]), 1.0))
    assert by_consensus([ODD, *ALIKE], [-1.0] * 4, expected, EQUALLY)[0] == 1


def test_equal_captions_keep_their_order() -> None:
    captions = [[START, *words, END] for words in ([1, 2], [3, 4], [5, 6])]
    assert by_consensus(captions, [-1.0, -1.0, -1.0], NOTHING, EQUALLY) == [0, 1, 2]


def test_rare_words_count_more() -> None:
    captions = [[START, *words, END] for words in ([1, 2, 3], [1, 2, 4], [5, 6, 4])]
    assert by_consensus(captions, [-1.0] * 3, NOTHING, EQUALLY)[0] == 1
    rare = np.where(np.isin(range(10), (5, 6)), 10.0, EQUALLY)
    assert by_consensus(captions, [-1.0] * 3, NOTHING, rare)[0] == 2


@pytest.mark.parametrize("seed", range(20))
def test_it_is_dices_coefficient_with_what_is_expected(seed: int) -> None:
    """The captions have few words, so that they share pairs and repeat them."""
    draw = random.Random(seed)
    captions = [
        [START, *(draw.randrange(3) for _ in range(draw.randint(1, 9))), END] for _ in range(8)
    ]
    scores = sorted((draw.uniform(-3, 0) for _ in captions), reverse=True)
    beams = {pair: draw.uniform(0, 1.5) for pair in product(range(3), range(3))}
    rarity = np.array([draw.uniform(0.1, 3) for _ in range(8)] + [0.0] * 2)
    weights = [math.exp(SHARPNESS * score) for score in scores]
    pairs = Counter({pair: count / 2 for pair, count in beams.items()})
    for caption, weight in zip(captions, weights, strict=True):
        for pair in set(pairwise(caption)):
            pairs[pair] += weight / sum(weights) / 2
    expected: Counter[tuple[int, ...]] = Counter(pairs)
    for (_, word), count in pairs.items():
        expected[word,] += count

    def counted(items: Mapping[tuple[int, ...], float]) -> float:
        return sum(count * sum(rarity[word] for word in item) for item, count in items.items())

    agreement = []
    for caption in captions:
        own: Counter[tuple[int, ...]] = Counter(pairwise(caption))
        own.update((word,) for word in caption[1:])
        common = {item: min(expected[item], 1) for item in own}
        agreement.append(2 * counted(common) / (counted(own) + counted(expected)))
    in_halves = {pair: count / 2 for pair, count in beams.items()}
    given = map(np.concatenate, zip(*[as_pairs(in_halves)] * 2, strict=True))
    order = by_consensus(captions, scores, Pairs(*given), rarity)
    assert sorted(order) == list(range(8))
    ranked = [agreement[place] for place in order]
    assert ranked == pytest.approx(sorted(agreement, reverse=True))


@pytest.fixture
def recorded_pairs(monkeypatch: pytest.MonkeyPatch) -> list[Pairs]:
    """Return the pairs that the beams of the search expected, for each photo."""
    recorded = []

    def remember(
        captions: Sequence[Sequence[int]],
        scores: Sequence[float],
        expected: Pairs,
        rarity: np.ndarray,
    ) -> list[int]:
        recorded.append(expected)
        return by_consensus(captions, scores, expected, rarity)

    monkeypatch.setattr("model.hypotheses.by_consensus", remember)
    return recorded


def test_what_the_beams_expected(recorded_pairs: list[Pairs]) -> None:
    """There is a beam for every word, so that no probability is missing."""
    decoder, penalty = scripted(5, seed=3), 0.7
    beam_search(decoder, decoder.grid(), WORD_MAP, DecodingOptions(20, 1, 2, penalty))
    assert len(recorded_pairs) == 5
    for photo, pairs in enumerate(recorded_pairs):
        expected: Counter[tuple[int, int]] = Counter()
        for first, second, count in zip(*pairs, strict=True):
            expected[first, second] += count
        first = {word: decoder.log_probs(photo, [word])[0] for word in WORDS}
        weights = {w: math.exp(SHARPNESS * p / 2**penalty) for w, p in first.items()}
        for word, log_prob in first.items():
            assert expected[WORD_MAP.start, word] == pytest.approx(math.exp(log_prob))
            share = weights[word] / sum(weights.values())
            for following in set(WORDS) - {word}:
                probability = math.exp(decoder.log_probs(photo, [word, following])[1])
                assert expected[word, following] == pytest.approx(share * probability)
        ends = sum(count for (_, word), count in expected.items() if word == WORD_MAP.end)
        assert 0 < ends < 1


@pytest.mark.parametrize("num_captions", [1, 2, 6])
def test_the_search_ranks_all_captions_and_returns_some(
    num_captions: int, recorded_pairs: list[Pairs]
) -> None:
    decoder = scripted(9, seed=3)
    ranked_by_score = beam_search(decoder, decoder.grid(), WORD_MAP, by_score(6, 6, 7))
    chosen = beam_search(decoder, decoder.grid(), WORD_MAP, DecodingOptions(6, num_captions, 7))
    changed = 0
    for all_found, found, expected in zip(ranked_by_score, chosen, recorded_pairs, strict=True):
        captions = [[WORD_MAP.start, *h.tokens, WORD_MAP.end] for h in all_found]
        scores = [h.score for h in all_found]
        order = by_consensus(captions, scores, expected, WORD_MAP.rarity)
        wanted = [all_found[place] for place in order[:num_captions]]
        assert [h.tokens for h in found] == [h.tokens for h in wanted]
        assert [h.log_prob for h in found] == [h.log_prob for h in wanted]
        changed += found[0].tokens != all_found[0].tokens
    assert changed  # or the scripted decoder would not tell the two apart
