"""Counts of the wording of captions: faults that readers notice and scores hardly punish."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple, Self

from model.english import FUNCTION_WORDS, UNFINISHED
from model.word_map import is_character, split


class Wording(NamedTuple):
    """Counts over the captions of a split; in scripts without spaces each character is a word."""

    captions: int
    unfinished: int  # captions that end in one of `UNFINISHED`; only English ones can
    repeating: int  # captions with a word twice in a row
    repeating_content: int  # captions with a content word twice, see `repeats_content`
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
            repeating_content=sum(map(repeats_content, texts)),
            different=len(set(captions)),
            vocabulary=len({word for words in texts for word in words}),
            words=sum(map(len, texts)),
        )

    def figures(self) -> dict[str, str]:
        """Return the counts as text, by what they count."""
        return {
            'captions that end in "a", "the", "with", ...': f"{self.unfinished} of {self.captions}",
            "captions with a word twice in a row": f"{self.repeating} of {self.captions}",
            "captions with a content word twice": f"{self.repeating_content} of {self.captions}",
            "different captions": f"{self.different} of {self.captions}",
            "different words": str(self.vocabulary),
            "words a caption": f"{self.words / max(1, self.captions):.1f}",
        }

    def table(self) -> str:
        """Return the counts as plain text, one a line."""
        figures = self.figures()
        width = max(map(len, figures))
        return "\n".join(f"{name:{width}}  {value}" for name, value in figures.items())


def repeats_content(words: Sequence[str]) -> bool:
    """Return whether a caption says a content word twice, as "a black hat and a hat" does.

    Content words are those that are not in `FUNCTION_WORDS`. That list is English: in another
    language "la ... la" counts too, and the figure says little. Characters of scripts without
    spaces between words never count, because they are parts of words.
    """
    content = [word for word in words if word not in FUNCTION_WORDS and not is_character(word)]
    return len(set(content)) < len(content)
