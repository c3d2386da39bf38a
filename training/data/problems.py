"""The problems that a dataset can have, and how many of them are too many."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

BAD_ROW = "row that cannot be read"
MISSING = "missing photo"
DUPLICATE = "photo listed twice"
NO_CAPTION = "photo without a caption"
EMPTY_CAPTION = "caption without a word"
LONG_CAPTION = "overlong caption"
UNREADABLE = "photo that cannot be decoded"
NOT_CAPTIONED = "row with an error in place of a caption"
NO_PHOTO = "text without a photo"
IN_NO_SPLIT = "photo in no split"
IN_SEVERAL_SPLITS = "photo in several splits"
# Which photos a split leaves out or shares is a decision of whoever made it, and so is what has no
# caption or photo on purpose: these are reported but do not count as faults.
NOTICES = frozenset({NOT_CAPTIONED, NO_PHOTO, IN_NO_SPLIT, IN_SEVERAL_SPLITS})


class InvalidDataset(ValueError):
    """The source cannot be read as captioned photos; the message says what and where."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a photo or a row."""

    kind: str  # one of the constants above
    name: str  # of the photo, or the place of the row
    detail: str = ""

    @classmethod
    def of_row(cls, where: str, error: Exception) -> Problem:
        """Return the problem of a row whose reading raised an error."""
        reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        return cls(BAD_ROW, where, reason)

    def __str__(self) -> str:
        return f"{self.name} ({self.detail})" if self.detail else self.name


def check_share(
    problems: Iterable[Problem], names: set[str], max_share: float, source: str | Path
) -> None:
    """Raise `InvalidDataset` if too many photos have a fault, or all of them.

    Parameters
    ----------
    names
        Names of the photos that were read; each row that could not be read counts as one more.
    max_share
        Largest share of photos with a fault, 0..1.
    """
    faults = [problem for problem in problems if problem.kind not in NOTICES]
    bad = {problem.name for problem in faults}
    total = len(names | bad)
    if len(bad) > max_share * total or not names - bad:
        raise InvalidDataset(
            f"{source}: {len(bad)} of {total} photos have problems, allowed are {max_share:.1%}:"
            f" {summary(faults)}. Mend them, or allow more with --max-problems"
        )


def by_kind(problems: Iterable[Problem]) -> dict[str, list[str]]:
    """Return the problems as text, grouped by their kind."""
    kinds: dict[str, list[str]] = defaultdict(list)
    for problem in problems:
        kinds[problem.kind].append(str(problem))
    return dict(kinds)


def summary(problems: Iterable[Problem]) -> str:
    """Return one line that gives for each kind the number of problems and the first names."""
    return "; ".join(
        f"{len(names)} x {kind}: {', '.join(names[:3])}{', ...' if len(names) > 3 else ''}"
        for kind, names in by_kind(problems).items()
    )
