from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.word_map import SPECIAL, WordMap, tokenize


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A dog runs .", ["a", "dog", "runs"]),
        ("man's", ["man", "'s"]),
        ("the boys ' t-shirts", ["the", "boys", "t-shirts"]),
        ("It doesn\u2019t; we cannot!", ["it", "does", "n't", "we", "can", "not"]),
        ("at 5:30, o'clock (4.5)", ["at", "5:30", "o'clock", "4.5"]),
        ("Ça va — über", ["ça", "va", "über"]),
        (" . , ' -- ", []),
    ],
)
def test_tokenize(text: str, words: list[str]) -> None:
    assert tokenize(text) == words


@given(st.text())
def test_tokenizing_again_changes_nothing(text: str) -> None:
    words = tokenize(text)
    assert tokenize(" ".join(words)) == words
    assert all(word and not word.isspace() for word in words)


@given(st.lists(st.sampled_from(["a", "man 's", "does n't", "t-shirt", "we 'll", "can not"])))
def test_decoding_joins_what_tokenize_split(pieces: list[str]) -> None:
    words = " ".join(pieces).split()
    word_map = WordMap.build([words], minimum_count=1)
    text = word_map.decode(word_map.encode(words))
    assert " '" not in text
    assert tokenize(text) == words


def test_build_counts_and_orders() -> None:
    captions = [["a", "dog"], ["a", "cat", "a"], ["cat", "<unk>", "<unk>"]]
    word_map = WordMap.build(captions, minimum_count=2)
    assert word_map.words == ["<pad>", "a", "cat", "<unk>", "<start>", "<end>"]
    assert word_map.encode(["a", "dog", "cat"]) == [4, 1, 3, 2, 5]
    assert word_map.decode([4, 1, 3, 2, 5, 0]) == "a cat"


def test_rarity_rises_with_the_rank_and_is_none_of_specials() -> None:
    word_map = WordMap.build([["a", "a", "a", "cat", "cat", "sat"]], minimum_count=1)
    pad, a, cat, sat, *specials = word_map.rarity
    assert 0 < a < cat < sat
    assert [pad, *specials] == [0.0] * 4


@pytest.mark.parametrize("missing", SPECIAL)
def test_needs_every_special_token(missing: str) -> None:
    ids = {word: i for i, word in enumerate(word for word in SPECIAL if word != missing)}
    with pytest.raises(ValueError, match=f"lacks {missing}"):
        WordMap(ids)


@pytest.mark.parametrize("ids", [[0, 1, 2, 2], [1, 2, 3, 4], [0, 1, 2, 2.0]])
def test_ids_must_be_a_bijection(ids: list[int]) -> None:
    with pytest.raises(ValueError, match="each once"):
        WordMap(dict(zip(SPECIAL, ids, strict=True)))


def test_json_round_trip(tmp_path: Path) -> None:
    word_map = WordMap.build([["über", "a"]], minimum_count=1)
    path = tmp_path / "word_map.json"
    path.write_text(word_map.to_json(), encoding="utf-8")
    assert WordMap.load(path) == word_map
    assert json.loads(path.read_text(encoding="utf-8"))["<pad>"] == 0


@pytest.mark.parametrize("content", ["", "[1]", "{", '{"a": 0}'])
def test_load_names_the_file(tmp_path: Path, content: str) -> None:
    path = tmp_path / "word_map.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"word_map\.json"):
        WordMap.load(path)
