from __future__ import annotations

import math

import pytest

from training.metrics import score

REFERENCES = [
    ["A dog runs in the grass .", "the brown dog is running"],
    ["Two men play football .", "men playing a game"],
    ["A girl 's red hat", "a child in a hat"],
]


def test_a_perfect_caption_scores_1() -> None:
    scores = score([r[0] for r in REFERENCES], REFERENCES)
    assert list(scores) == ["BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L", "CIDEr"]
    assert scores["BLEU-4"] == pytest.approx(1.0, abs=1e-6)
    assert scores["ROUGE-L"] == pytest.approx(1.0)


def test_bleu_by_hand() -> None:
    """Four of five words are right, three of four pairs; as long as the reference."""
    scores = score(["a dog runs in snow"], [["a dog runs in grass"]])
    assert scores["BLEU-1"] == pytest.approx(4 / 5)
    assert scores["BLEU-2"] == pytest.approx(math.sqrt(4 / 5 * 3 / 4))


def test_brevity_is_penalised() -> None:
    scores = score(["a dog"], [["a dog runs in grass"]])
    assert scores["BLEU-1"] == pytest.approx(math.exp(1 - 5 / 2))


def test_case_and_punctuation_do_not_count() -> None:
    plain = score(["a girl 's red hat", "men playing", "dog"], REFERENCES)
    fancy = score(["A girl's red hat.", "Men, playing!", "DOG"], REFERENCES)
    assert plain == fancy


def test_cider_rewards_rare_words_over_common_ones() -> None:
    references = [["a dog"], ["a cat"], ["a hat"], ["a bird"]]
    common = score(["a", "a", "a", "a"], references)["CIDEr"]
    rare = score(["dog", "cat", "hat", "bird"], references)["CIDEr"]
    assert common == pytest.approx(0.0, abs=1e-6)
    assert rare > 1


def test_counts_must_agree() -> None:
    with pytest.raises(ValueError, match="1 candidates for 3 photos"):
        score(["a"], REFERENCES)
    with pytest.raises(ValueError, match="0 candidates"):
        score([], [])
