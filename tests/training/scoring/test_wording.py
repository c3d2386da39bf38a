from __future__ import annotations

import pytest

from training.scoring.wording import Wording, repeats_content

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
        captions=5,
        unfinished=1,
        repeating=1,
        repeating_content=0,
        different=4,
        vocabulary=9,
        words=23,
    )
    table = wording.table()
    assert "1 of 5" in table
    assert "4.6" in table


def test_characters_of_scripts_without_spaces_are_words() -> None:
    wording = Wording.counted(["一只狗在草地上", "一只狗", "妈妈 和 T恤"])
    assert (wording.words, wording.vocabulary, wording.repeating) == (7 + 3 + 5, 11, 1)


@pytest.mark.parametrize(
    ("caption", "repeats"),
    [
        ("a man wearing a black hat and hat", True),
        ("a dog dog runs", True),
        ("a black dog and a black cat", True),
        ("a man in a hat and a woman in a dress on the grass", False),
        ("two men and two women", False),
        ("妈妈 and a dog", False),  # one word of two characters
        ("", False),
    ],
)
def test_a_content_word_twice_is_a_repetition(caption: str, repeats: bool) -> None:
    assert repeats_content(caption.split()) is repeats
    assert Wording.counted([caption, "a dog"]).repeating_content == int(repeats)


def test_of_no_captions() -> None:
    assert Wording.counted([]).table().endswith("0.0")
