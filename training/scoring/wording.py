"""How captions are worded: what scores hardly punish and readers notice at once."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple, Self

from model.word_map import split

# A caption that ends in one of these wants another word.
# fmt: off
UNFINISHED = frozenset([
    "a", "an", "the", "and", "or", "of", "with", "without", "in", "into", "on", "onto", "upon",
    "at", "by", "for", "from", "to", "near", "next", "behind", "beside", "between", "under",
    "through", "before", "after", "against", "as", "while", "that", "his", "her", "its", "their",
    "is", "are", "am",
])
# fmt: on


class Wording(NamedTuple):
    """Counts over the captions of a split; characters of scripts without spaces are words."""

    captions: int
    unfinished: int  # captions that end in one of `UNFINISHED`; none but English ones can
    repeating: int  # captions with a word twice in a row
    different: int  # captions, each counted once
    vocabulary: int  # words, each counted once
    words: int

    @classmethod
    def of(cls, captions: Sequence[str]) -> Self:
        written = [split(caption) for caption in captions]
        return cls(
            captions=len(written),
            unfinished=sum(bool(words) and words[-1] in UNFINISHED for words in written),
            repeating=sum(any(a == b for a, b in pairwise(words)) for words in written),
            different=len(set(captions)),
            vocabulary=len({word for words in written for word in words}),
            words=sum(map(len, written)),
        )

    def table(self) -> str:
        """Plain text."""
        lines = {
            'captions that end in "a", "the", "with", ...': f"{self.unfinished} of {self.captions}",
            "captions with a word twice in a row": f"{self.repeating} of {self.captions}",
            "different captions": f"{self.different} of {self.captions}",
            "different words": str(self.vocabulary),
            "words a caption": f"{self.words / max(1, self.captions):.1f}",
        }
        width = max(map(len, lines))
        return "\n".join(f"{name:{width}}  {value}" for name, value in lines.items())
