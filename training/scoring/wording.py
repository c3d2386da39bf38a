"""Counts of the wording of captions: faults that readers notice and scores hardly punish."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple, Self

from model.word_map import split

# English words that cannot be the last of a finished caption.
# fmt: off
UNFINISHED = frozenset([
    "a", "an", "the", "and", "or", "of", "with", "without", "in", "into", "on", "onto", "upon",
    "at", "by", "for", "from", "to", "near", "next", "behind", "beside", "between", "under",
    "through", "before", "after", "against", "as", "while", "that", "his", "her", "its", "their",
    "is", "are", "am",
])
# fmt: on


class Wording(NamedTuple):
    """Counts over the captions of a split; in scripts without spaces each character is a word."""

    captions: int
    unfinished: int  # captions that end in one of `UNFINISHED`; only English ones can
    repeating: int  # captions with a word twice in a row
    different: int  # different captions
    vocabulary: int  # different words
    words: int

    @classmethod
    def counted(cls, captions: Sequence[str]) -> Self:
        """Count the captions and their words."""
        texts = [split(caption) for caption in captions]
        return cls(
            captions=len(texts),
            unfinished=sum(bool(words) and words[-1] in UNFINISHED for words in texts),
            repeating=sum(any(a == b for a, b in pairwise(words)) for words in texts),
            different=len(set(captions)),
            vocabulary=len({word for words in texts for word in words}),
            words=sum(map(len, texts)),
        )

    def table(self) -> str:
        """Return the counts as plain text, one a line."""
        lines = {
            'captions that end in "a", "the", "with", ...': f"{self.unfinished} of {self.captions}",
            "captions with a word twice in a row": f"{self.repeating} of {self.captions}",
            "different captions": f"{self.different} of {self.captions}",
            "different words": str(self.vocabulary),
            "words a caption": f"{self.words / max(1, self.captions):.1f}",
        }
        width = max(map(len, lines))
        return "\n".join(f"{name:{width}}  {value}" for name, value in lines.items())
