"""CIDEr-D, and a share of BLEU-4."""

from __future__ import annotations

import pytest

from training.cider import CiderD
from training.rewards import Reward

REFERENCES = {
    0: [["a", "dog", "runs", "on", "grass", "<end>"], ["a", "dog", "plays", "<end>"]],
    1: [["a", "cat", "sleeps", "<end>"]],
    2: [["two", "men", "talk", "<end>"]],
}
CAPTIONS = [REFERENCES[0][0], ["a", "dog", "runs", "on", "a", "<end>"], REFERENCES[1][0]]


def test_is_cider_d_alone_unless_told_otherwise() -> None:
    assert Reward(REFERENCES).scores(0, CAPTIONS) == CiderD(REFERENCES).scores(0, CAPTIONS)


def test_a_share_of_bleu_4() -> None:
    """1 for what people wrote; of n words' sequences, one more counts as found and as there."""
    ciders = CiderD(REFERENCES).scores(0, CAPTIONS)
    added = [
        (both - cider) / 2
        for both, cider in zip(Reward(REFERENCES, 2).scores(0, CAPTIONS), ciders, strict=True)
    ]
    second = (5 / 6 * 4 / 6 * 3 / 5 * 2 / 4) ** 0.25
    third = (2 / 4 * 1 / 4 * 1 / 3 * 1 / 2) ** 0.25
    assert added == pytest.approx([1, second, third])
