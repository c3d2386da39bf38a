"""Words to ids and back, and the one tokenizer that training, scores and captions share."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

PAD, START, END, UNK = "<pad>", "<start>", "<end>", "<unk>"
SPECIAL = (PAD, START, END, UNK)

# Words keep inner hyphens, apostrophes, dots and figures ("t-shirt", "o'clock", "4.5"); English
# clitics are words of their own, as in the Penn Treebank ("dog 's", "do n't").
_CLITIC = re.compile(r"(?<=\w)(n't|'(?:s|m|d|re|ve|ll))\b|(?<=\bcan)(not)\b")
_WORD = re.compile(r"n't\b|'(?:s|m|d|re|ve|ll)\b|[^\W_]+(?:[-'.,:/&_]+[^\W_]+)*")


def tokenize(text: str) -> list[str]:
    """Lower-case words of a caption, punctuation dropped.

    >>> tokenize("A man's T-shirt doesn't fit , no .")
    ['a', 'man', "'s", 't-shirt', 'does', "n't", 'fit', 'no']
    """
    plain = text.lower().replace("\u2019", "'")
    return _WORD.findall(_CLITIC.sub(r" \g<0>", plain))


class WordMap:
    """A bijection between V words and the ids 0..V-1.

    Parameters
    ----------
    ids
        Word to id, with `SPECIAL` among the words.

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
        """From tokenized captions: words seen at least `minimum_count` times, commonest first."""
        counts = Counter(word for caption in captions for word in caption)
        kept = [w for w, n in counts.items() if n >= minimum_count and w not in SPECIAL]
        kept.sort(key=lambda word: (-counts[word], word))
        return cls({word: i for i, word in enumerate([PAD, *kept, UNK, START, END])})

    @cached_property
    def rarity(self) -> np.ndarray:
        """Of every id how rare its word is, without a unit: the logarithm of its rank and one.

        Words come commonest first, or, in the tutorial's maps, as captions had them, which is much
        the same; how often a word occurs falls with its rank (Zipf's law). Of specials it is 0.
        """
        rarity: np.ndarray = np.log(2.0 + np.arange(len(self)))
        rarity[[self.pad, self.start, self.end, self.unk]] = 0.0
        return rarity

    @classmethod
    def load(cls, path: str | Path) -> WordMap:
        """Read the tutorial's JSON form: one object, word to id."""
        try:
            ids = json.loads(Path(path).read_text(encoding="utf-8"))
            if not isinstance(ids, dict):
                raise ValueError("it is not an object of words and ids")
            return cls(ids)
        except (OSError, ValueError) as error:
            raise ValueError(f"{path}: {error}") from error

    def to_json(self) -> str:
        return json.dumps(self._ids, ensure_ascii=False, indent=0) + "\n"

    def __len__(self) -> int:
        return len(self.words)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, WordMap) and self.words == other.words

    def __hash__(self) -> int:
        return hash(tuple(self.words))

    def encode(self, words: Iterable[str]) -> list[int]:
        """Ids between ``<start>`` and ``<end>``; words not in the map become ``<unk>``."""
        return [self.start, *(self._ids.get(word, self.unk) for word in words), self.end]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of a caption: special tokens left out, clitics joined to their word.

        A word map from elsewhere may hold anything; ``tokenize(decode(ids))`` gives the words back
        for those that `tokenize` makes.
        """
        words = [self.words[i] for i in ids]
        text = " ".join(word for word in words if word not in SPECIAL)
        return re.sub(r" (n't|'(?:s|m|d|re|ve|ll))\b", r"\1", text)
