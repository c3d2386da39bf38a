"""Words: their ids, and the one tokenizer that training, scores and captions share."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import regex

from model.english import FUNCTION_WORDS

PAD, START, END, UNK = "<pad>", "<start>", "<end>", "<unk>"
SPECIAL = (PAD, START, END, UNK)

# Where words are limited, this many characters of Chinese, Japanese, Thai, ... count as one word:
# two are usual in Chinese, three or four in Thai.
CHARACTERS_PER_WORD = 3
# A map is English if at least this share of its commonest words are English function words. Of
# English captions it is about a half; half of that if another language was added to them.
ENGLISH_SHARE, COMMONEST = 1 / 3, 30

# Patterns. Thai and Lao AM are letters to Unicode, but stand with a consonant as marks do.
_MARK = r"[\p{M}\u0e33\u0eb3]"
# Scripts without spaces between words; SA are those of South East Asia (Unicode's annex 14).
_UNSPACED = (
    r"[[\p{scx=Han}\p{scx=Hira}\p{scx=Kana}\p{sc=Bopo}\p{sc=Yiii}\p{LB=SA}]&&[\p{L}\p{N}]"
    rf"--{_MARK}]"
)
_LETTER = rf"[\p{{L}}\p{{N}}--{_UNSPACED}--{_MARK}]"
_CHARACTER = rf"{_UNSPACED}(?:{_MARK}|[\u200c\u200d]++(?={_MARK}))*+"
# Marks stay with their letters. Zero-width joiners and non-joiners belong to the spelling of
# Persian and of India's languages, but one at the end of a word means nothing, unless it follows a
# mark (virama).
_JOINER = rf"(?<=\p{{M}})\u200d|[\u200c\u200d]++(?=[{_LETTER}{_MARK}])"
_SPELLING = rf"{_LETTER}(?:[{_LETTER}{_MARK}]++|{_JOINER})*+"
# Words keep inner hyphens, apostrophes, dots and figures ("t-shirt", "o'clock", "4.5"), Catalan's
# middle dot and Hebrew's hyphen and quotation marks.
_INNER = r"""[-'.,:/&_\u00b7\u05be\u05f3\u05f4]|(?<=\p{Hebrew})"(?=\p{Hebrew})"""
# English clitics are words of their own, as in the Penn Treebank ("dog 's", "do n't").
_CLITIC = r"(?:n't|'(?:s|m|d|re|ve|ll))"


def _clitics(edge: str) -> str:
    """Return the pattern of a clitic to cut off; ``edge`` is a pattern of a word's characters."""
    return rf"(?<={edge})({_CLITIC})(?!{edge})|(?<=(?<!{edge})can)(not)(?!{edge})"


def _words(edge: str, spelling: str, inner: str) -> str:
    """Return the pattern of a word: a clitic, or spellings joined by inner characters."""
    return rf"{_CLITIC}(?!{edge})|{spelling}(?:(?:{inner})++{spelling})*+"


_EDGE = rf"[[\p{{L}}\p{{N}}\p{{M}}_]--{_UNSPACED}]"  # a clitic ends before a Thai character
_CUT = regex.compile(_clitics(_EDGE), regex.V1)
_WORD = regex.compile(f"{_words(_EDGE, _SPELLING, _INNER)}|{_CHARACTER}", regex.V1)
# The same for ASCII text alone, several times as fast.
_ASCII_CUT = re.compile(_clitics(r"[a-z0-9_]"))
_ASCII_WORD = re.compile(_words(r"[a-z0-9_]", r"[a-z0-9]++", r"[-'.,:/&_]"))
# Soft hyphens, marks of direction and variants, Armenian intonation: not part of a word's spelling.
_UNSPELT = regex.compile(
    r"[[\p{Cf}&&\p{Default_Ignorable_Code_Point}--\u200b-\u200d]"
    r"\ufe00-\ufe0f\U000e0100-\U000e01ef\u055b\u055c\u055e]",
    regex.V1,
)
_SAME = str.maketrans({"\u2019": "'", "\u2010": "-", "\u2011": "-"})
_NEEDLESS_SPACE = regex.compile(
    rf" (?={_CLITIC}(?!{_EDGE}))|(?<={_CHARACTER}) (?={_UNSPACED})", regex.V1
)
_ONE_CHARACTER = regex.compile(_CHARACTER, regex.V1)


def tokenize(text: str) -> list[str]:
    """Split a caption into its words, in lower case and without punctuation.

    Words are in Unicode's composed form (NFC). Scripts without spaces between words, such as
    Chinese, Japanese, Thai, Lao, Khmer and Burmese, are split into characters.

    >>> tokenize("A man's T-shirt doesn't fit , no .")
    ['a', 'man', "'s", 't-shirt', 'does', "n't", 'fit', 'no']
    >>> tokenize("यह एक कुत्ता है। 一只狗")
    ['यह', 'एक', 'कुत्ता', 'है', '一', '只', '狗']
    """
    if text.isascii():
        plain = text.lower()
        if "'" in plain or "cannot" in plain:
            plain = _ASCII_CUT.sub(r" \g<0>", plain)
        return _ASCII_WORD.findall(plain)
    plain = unicodedata.normalize("NFC", _UNSPELT.sub("", text))
    # The lower case of Turkish İ is i; Python, which knows no language, adds a dot above.
    plain = unicodedata.normalize("NFC", plain.replace("İ", "i").lower()).translate(_SAME)
    return _WORD.findall(_CUT.sub(r" \g<0>", plain))


def join(words: Iterable[str]) -> str:
    """Join words to a text: clitics to the word before, characters of unspaced scripts directly.

    ``tokenize(join(words))`` returns the same words if `tokenize` made them.
    """
    return _NEEDLESS_SPACE.sub("", " ".join(words))


def split(text: str) -> list[str]:
    """Split a caption into its words as they are written, clitics included.

    >>> split("a dog's 红球")
    ['a', "dog's", '红', '球']
    """
    return (text if text.isascii() else _ONE_CHARACTER.sub(r" \g<0> ", text)).split()


def is_character(word: str) -> bool:
    """Whether a word is one character of a script without spaces between words."""
    return not word.isascii() and _ONE_CHARACTER.fullmatch(word) is not None


def count_words(words: Sequence[str]) -> int:
    """Count the words of a caption; characters of unspaced scripts count as parts of words."""
    characters = sum(map(is_character, words))
    return len(words) - characters + -(-characters // CHARACTERS_PER_WORD)


class WordMap:
    """A bijection between V words and the ids 0..V-1.

    Parameters
    ----------
    ids
        The id of each word; the words of `SPECIAL` are among them.

    Raises
    ------
    ValueError
        A special token is missing, or the ids are not exactly 0..V-1.
    """

    def __init__(self, ids: Mapping[str, int]) -> None:
        if missing := [token for token in SPECIAL if token not in ids]:
            raise ValueError(f"the word map lacks {' '.join(missing)}")
        if any(type(i) is not int for i in ids.values()) or sorted(ids.values()) != list(
            range(len(ids))
        ):
            raise ValueError(f"the word map's {len(ids)} ids are not 0..{len(ids) - 1}, each once")
        self._ids = dict(ids)
        self.words = sorted(ids, key=ids.__getitem__)
        self.pad, self.start, self.end, self.unk = (ids[token] for token in SPECIAL)

    @classmethod
    def build(cls, captions: Iterable[Sequence[str]], minimum_count: int = 5) -> WordMap:
        """Build a map of the words that occur ``minimum_count`` times or more, commonest first."""
        counts = Counter(word for caption in captions for word in caption)
        kept = [w for w, n in counts.items() if n >= minimum_count and w not in SPECIAL]
        kept.sort(key=lambda word: (-counts[word], word))
        return cls({word: i for i, word in enumerate([PAD, *kept, UNK, START, END])})

    @cached_property
    def rarity(self) -> np.ndarray:
        """The rarity weight of each id, log(rank + 1), without a unit; 0 for special tokens.

        A word's id is its rank: words come commonest first, or, in the tutorial's maps, in the
        order of the captions, which is much the same. By Zipf's law a word's frequency falls with
        its rank.
        """
        rarity: np.ndarray = np.log(2.0 + np.arange(len(self)))
        rarity[[self.pad, self.start, self.end, self.unk]] = 0.0
        return rarity

    @cached_property
    def characters(self) -> np.ndarray:
        """Whether each id is one character of a script without spaces, shape = (V,)."""
        return np.array([is_character(word) for word in self.words])

    @cached_property
    def content(self) -> np.ndarray:
        """Whether each id is an English content word, shape = (V,); none is in other languages.

        Content words are all but those of `model.english.FUNCTION_WORDS`. Which words of another
        language are function words is not known, so a map that is not English has no content words.
        """
        words = [word for word in self.words if word not in SPECIAL]
        common = words[:COMMONEST]
        if sum(word in FUNCTION_WORDS for word in common) < ENGLISH_SHARE * len(common):
            return np.zeros(len(self), bool)
        others = FUNCTION_WORDS.union(SPECIAL)
        return np.array([word not in others and not is_character(word) for word in self.words])

    def max_tokens(self, words: int) -> int:
        """Return the most tokens of a caption of ``words`` words; more if tokens are characters.

        They are if most words of the map are characters.
        """
        mostly_characters = 2 * self.characters.sum() > len(self) - len(SPECIAL)
        return words * (CHARACTERS_PER_WORD if mostly_characters else 1)

    def with_more(self, more: WordMap) -> WordMap:
        """Return a map with the new words of ``more`` too, each at the rank that it has there.

        Ids stay ranks: a word that is common in the added captions counts as common, see `rarity`.
        The old words keep their order.
        """
        ranked = [(rank, word) for rank, word in enumerate(more.words) if word not in self._ids]
        both = sorted([*enumerate(self.words), *ranked], key=lambda pair: pair[0])
        return WordMap({word: i for i, (_, word) in enumerate(both)})

    @classmethod
    def load(cls, path: str | Path) -> WordMap:
        """Read the JSON form of the tutorial: one object, from words to ids."""
        try:
            ids = json.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise ValueError(f"{path}: {error}") from error
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: no word map: it is no text") from error
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}: no word map: it is no JSON: {error}") from error
        try:
            if not isinstance(ids, dict):
                raise ValueError("it is not an object of words and ids")
            return cls(ids)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    def to_json(self) -> str:
        """Return the form that `load` reads."""
        return json.dumps(self._ids, ensure_ascii=False, indent=0) + "\n"

    def __len__(self) -> int:
        return len(self.words)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, WordMap) and self.words == other.words

    def __hash__(self) -> int:
        return hash(tuple(self.words))

    def encode(self, words: Iterable[str]) -> list[int]:
        """Return ids from ``<start>`` to ``<end>``; words not in the map become ``<unk>``."""
        return [self.start, *(self._ids.get(word, self.unk) for word in words), self.end]

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of a caption, without special tokens; see `join`.

        ``tokenize(decode(ids))`` returns the words if they are as `tokenize` makes them; a map from
        elsewhere may contain others.
        """
        words = (self.words[i] for i in ids)
        return join(word for word in words if word not in SPECIAL)
