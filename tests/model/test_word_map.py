# ruff: noqa: RUF001 - letters of many scripts look alike
from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from model.word_map import SPECIAL, WordMap, count_words, split, tokenize

# Letters, marks and what may stand between them, of many scripts and in every order.
SCRIPTS = st.text(
    st.sampled_from(
        "aeiouÉßİıſ 's't.-,&_1²\u0301\u0308\u0323đơ ΣσςЙ՞ա\u200b\u200c\u200d\u00ad\u200f\ufeff"
        'שָׁלום״־"سَّلامـمی कुत्तीक्ष।বাंকা্தமிழ்ക്ന് ෂ්‍ය 白色红T恤、々〇ーがガ゙ﾊﾞㄅ한글ᄀ'
        "ᅡ เด็น้ำกา ລາວຳ ខ្មែរ မြန်မာ ꀀ𠀀😀🏽"
    )
)
SENTENCES = {
    "Hindi": "यह एक छोटा कुत्ता है",
    "Bengali": "একটি লাল বৃত্ত",
    "Tamil": "ஒரு சிவப்பு வட்டம்",
    "Malayalam": "അവന്\u200d ഓടുന്നു",
    "Arabic": "كَلْبٌ يَرْكُضُ",
    "Persian": "سگ می\u200cدود",
    "Hebrew": "כֶּלֶב רָץ",
    "Russian": "чёрный йогурт",
    "Greek": "ένας σκύλος",
    "Turkish": "iki yeşil ışık",
    "German": "ein grünes viereck über weiß",
    "Vietnamese": "một con chó đang chạy",
    "Spanish": "un niño pequeño",
    "Korean": "개가 달린다",
    "Catalan": "una col·lecció",
    "Ukrainian": "п'ять собак",
}
CHARACTERS = {
    "Chinese": "白 色 背 景 上 有 一 只 狗",
    "Japanese": "犬 が ボ ー ル で 遊 ん で い る",
    "Thai": "ห มา ตั ว เ ล็ ก ใ น น้ำ".replace("มา", "ม า"),
    "Lao": "ໝ າ ນ້ ອ ຍ ນ້ຳ",
    "Khmer": "ឆ្ កែ តូ ច",
    "Burmese": "ခွေး က လေး",
}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A dog runs .", ["a", "dog", "runs"]),
        ("man's", ["man", "'s"]),
        ("the boys ' t-shirts", ["the", "boys", "t-shirts"]),
        ("It doesn\u2019t; we cannot!", ["it", "does", "n't", "we", "can", "not"]),
        ("at 5:30, o'clock (4.5)", ["at", "5:30", "o'clock", "4.5"]),
        ("Ça va — über", ["ça", "va", "über"]),
        ("ISPARTA'da İKİ İnek", ["isparta'da", "iki", "inek"]),
        ("fire\u00adman\u2019s well\u2010known", ["fireman", "'s", "well-known"]),
        ("Ո՞վ է", ["ով", "է"]),
        ('צה"ל אמר "שלום"', ['צה"ל', "אמר", "שלום"]),
        ("穿T恤的人，3个。", ["穿", "t", "恤", "的", "人", "3", "个"]),
        ("สวัสดี\u200bครับ", ["ส", "วั", "ส", "ดี", "ค", "รั", "บ"]),
        (" . , ' -- ", []),
    ],
)
def test_tokenize(text: str, words: list[str]) -> None:
    assert tokenize(text) == words


@given(st.text() | SCRIPTS)
def test_tokenizing_again_changes_nothing(text: str) -> None:
    words = tokenize(text)
    assert tokenize(" ".join(words)) == words
    assert all(word and not word.isspace() for word in words)


@pytest.mark.parametrize("language", SENTENCES)
def test_words_stay_whole_in_every_script(language: str) -> None:
    sentence = SENTENCES[language]
    words = sentence.split()
    assert tokenize(sentence) == words
    assert tokenize(unicodedata.normalize("NFD", sentence)) == words
    assert tokenize(f"«{sentence}».") == words
    assert split(sentence) == words


@pytest.mark.parametrize("language", CHARACTERS)
def test_scripts_without_spaces_are_split_into_characters(language: str) -> None:
    characters = CHARACTERS[language].split()
    text = "".join(characters)
    assert tokenize(text) == characters
    assert tokenize(unicodedata.normalize("NFD", text)) == characters
    word_map = WordMap.build([characters], minimum_count=1)
    assert word_map.decode(word_map.encode(characters)) == text
    assert split(text) == characters


@given(st.text() | SCRIPTS)
def test_canonically_equal_texts_have_the_same_words(text: str) -> None:
    assert tokenize(unicodedata.normalize("NFD", text)) == tokenize(text)


@given(st.text() | SCRIPTS)
@example("a dog's\u0e01")  # a clitic before a Thai character
def test_captions_read_back_into_their_words(text: str) -> None:
    words = tokenize(text)
    word_map = WordMap.build([words], minimum_count=1)
    assert tokenize(word_map.decode(word_map.encode(words))) == words


@given(st.text(st.characters(codec="ascii")) | st.text("aAt nots'-_.:5"))
def test_words_of_ascii_do_not_depend_on_their_neighbours(text: str) -> None:
    assert tokenize(text + " é") == [*tokenize(text), "é"]


def test_scripts_side_by_side_read_back() -> None:
    words = tokenize("A man's 红色 T恤 says 'สวัสดี' 3 times, doesn't it?")
    word_map = WordMap.build([words], minimum_count=1)
    text = word_map.decode(word_map.encode(words))
    assert text == "a man's 红色 t 恤 says สวัสดี 3 times doesn't it"
    assert split(text)[:8] == ["a", "man's", "红", "色", "t", "恤", "says", "ส"]
    assert split(text)[-3:] == ["times", "doesn't", "it"]


def test_characters_are_reckoned_as_parts_of_words() -> None:
    assert count_words(tokenize("a dog's ball")) == 4
    assert count_words(tokenize("一只狗 and 白")) == 1 + 2


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


def test_rarity_rises_with_the_rank_and_is_0_for_special_tokens() -> None:
    word_map = WordMap.build([["a", "a", "a", "cat", "cat", "sat"]], minimum_count=1)
    pad, a, cat, sat, *specials = word_map.rarity
    assert 0 < a < cat < sat
    assert [pad, *specials] == [0.0] * 4


def test_words_added_are_as_rare_as_among_the_words_they_come_with() -> None:
    old = WordMap.build([[f"old{i:02}"] * (99 - i) for i in range(50)], minimum_count=1)
    captions = [["mug"] * 90, ["old07"] * 80, ["old03"] * 70, *([f"new{i:02}"] for i in range(40))]
    more = WordMap.build(captions, minimum_count=1)
    both = old.with_more(more)
    assert [word for word in both.words if word in old.words] == old.words
    assert [word for word in both.words if word in more.words and word not in old.words] == [
        word for word in more.words if word not in old.words
    ]
    rarity = dict(zip(both.words, both.rarity, strict=True))
    assert rarity["old00"] < rarity["mug"] < rarity["old02"]
    assert rarity["mug"] < rarity["new00"] < rarity["new39"]
    assert [rarity[word] for word in SPECIAL] == [0.0] * 4
    assert old.with_more(old) == old


def test_maps_of_characters_have_more_tokens_a_word() -> None:
    chinese = WordMap.build([tokenize("妈妈抱着一只小狗。 T")], minimum_count=1)
    assert chinese.characters.tolist() == [not word.isascii() for word in chinese.words]
    assert chinese.max_tokens(18) > 18
    english = WordMap.build([["a", "dog", "狗"]], minimum_count=1)
    assert english.max_tokens(18) == 18


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


def test_content_words_of_an_english_map() -> None:
    words = ["a", "dog", "in", "the", "grass", "'s", "狗"]
    word_map = WordMap.build([words], minimum_count=1)
    assert {w for w, c in zip(word_map.words, word_map.content, strict=True) if c} == {
        "dog",
        "grass",
    }


@pytest.mark.parametrize(
    "words",
    [["un", "perro", "en", "la", "hierba"], ["a", "un", "perro", "dog", "en", "la", "hierba"], []],
)
def test_a_map_that_is_not_english_has_no_content_words(words: list[str]) -> None:
    assert not WordMap.build([words], minimum_count=1).content.any()
