from __future__ import annotations

from training.scoring.wording import Wording

CAPTIONS = [
    "a dog runs on the grass",
    "a dog runs on the",
    "a man with with a hat",
    "a dog runs on the grass",
    "",
]


def test_counts_what_readers_notice() -> None:
    wording = Wording.counted(CAPTIONS)
    assert wording == Wording(
        captions=5, unfinished=1, repeating=1, different=4, vocabulary=9, words=23
    )
    table = wording.table()
    assert "1 of 5" in table
    assert "4.6" in table


def test_characters_of_scripts_without_spaces_are_words() -> None:
    wording = Wording.counted(["一只狗在草地上", "一只狗", "妈妈 和 T恤"])
    assert (wording.words, wording.vocabulary, wording.repeating) == (7 + 3 + 5, 11, 1)


def test_of_no_captions() -> None:
    assert Wording.counted([]).table().endswith("0.0")
