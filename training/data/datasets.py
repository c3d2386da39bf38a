"""A source of captioned photos, whatever its form -> photos with captions and split, judged."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from model.word_map import count_words, tokenize
from training.data import formats
from training.data.listing import (
    BAD_ROW,
    DUPLICATE,
    MISSING,
    SPLITS,
    Entry,
    InvalidDataset,
    Problem,
    TarMember,
)

__all__ = [
    "BAD_ROW",
    "DUPLICATE",
    "MISSING",
    "NOTICES",
    "SPLITS",
    "Dataset",
    "Example",
    "InvalidDataset",
    "Problem",
    "TarMember",
    "by_kind",
    "of_split",
    "read",
    "require_few",
    "summary",
]

NO_CAPTION = "photo without a caption"
EMPTY_CAPTION = "caption without a word"
LONG_CAPTION = "overlong caption"
IN_NO_SPLIT = "photo in no split"
IN_SEVERAL_SPLITS = "photo in several splits"
# What splits leave out or share was decided by whoever made them: told, but no fault of a photo.
NOTICES = frozenset({IN_NO_SPLIT, IN_SEVERAL_SPLITS})


@dataclass(frozen=True)
class Example:
    """A photo and everything people said about it."""

    name: str  # unique, but for a photo that is in several splits
    photo: Path | TarMember
    captions: tuple[str, ...]
    split: str | None  # one of SPLITS; None if the source has no splits


@dataclass(frozen=True)
class Dataset:
    """What a source holds, and what was wrong with the rest of it."""

    examples: tuple[Example, ...]
    problems: tuple[Problem, ...]
    format: str


def read(source: str | Path, format: str = "auto", max_words: int = 50) -> Dataset:
    """Read a dataset, whatever its form.

    Parameters
    ----------
    source
        A file or folder in one of the forms of ``format``:

        ``karpathy``
            ``{"images": [{"filename", "split", "sentences": [{"raw" or "tokens"}]}]}``.
        ``coco``
            ``{"images": [{"id", "file_name"}], "annotations": [{"image_id", "caption"}]}``.
        ``kaggle``
            A folder with ``captions.txt`` (``image,caption``) and Flickr's split lists, if any.
        ``flickr8k-token``
            A folder with ``Flickr8k.token.txt`` (``file.jpg#0<TAB>caption``), as above.
        ``imagefolder``
            A folder with ``metadata.jsonl`` or ``.csv`` of ``file_name``, ``text`` and perhaps
            ``split``, or with one in each of ``train``, ``val`` (``validation``) and ``test``.
        ``webdataset``
            A tar, or a folder of them, of ``KEY.jpg`` and ``KEY.txt`` (a caption a line) or
            ``KEY.json`` (``caption`` or ``captions``); a shard named after a split belongs to it.

        The photos of the first four lie in ``Images/`` or ``images/`` beside the file, or right
        beside it.
    format
        ``auto`` recognises it.
    max_words
        Captions of more words are left out; three characters of Chinese, Thai, ... are a word.

    Returns
    -------
    The examples in the source's order. What is wrong with a row is among the problems and the row
    is left out. If some photos have a split, those without are left out.

    Raises
    ------
    InvalidDataset
        The source is of no known form, or not of the form it was said to be.
    """
    source = Path(source)
    if format == "auto":
        format = formats.recognise(source)
    if format not in formats.READERS:
        allowed = ", ".join(("auto", *formats.READERS))
        raise InvalidDataset(f"format is {format!r}; allowed: {allowed}")
    listing = list(formats.READERS[format](source))
    if not listing:
        raise InvalidDataset(f"{source} lists no photo in the form {format!r}")
    has_splits = any(isinstance(item, Entry) and item.split for item in listing)

    problems: list[Problem] = []
    examples: dict[tuple[str, str | None], Example] = {}
    names: set[str] = set()
    for item in listing:
        if isinstance(item, Problem):
            problems.append(item)
        elif has_splits and item.split is None:
            problems.append(Problem(IN_NO_SPLIT, item.name))
        elif item.photo is None:
            problems.append(Problem(MISSING, item.name))
        elif (item.name, item.split) in examples:
            problems.append(Problem(DUPLICATE, item.name))
        elif captions := _captions(item, max_words, problems):
            if item.name in names:
                problems.append(Problem(IN_SEVERAL_SPLITS, item.name))
            names.add(item.name)
            example = Example(item.name, item.photo, captions, item.split)
            examples[item.name, item.split] = example
    return Dataset(tuple(examples.values()), tuple(problems), format)


def of_split(examples: Iterable[Example], split: str) -> list[Example]:
    """The examples of one split; raises `InvalidDataset` if there are none."""
    listed = list(examples)
    chosen = [example for example in listed if example.split == split]
    if not chosen:
        there = [name for name in SPLITS if any(example.split == name for example in listed)]
        has = f"it has {', '.join(there)}" if there else "'captioner prepare' draws one"
        raise InvalidDataset(f"the dataset has no split {split!r}; {has}")
    return chosen


def require_few(
    problems: Iterable[Problem], names: set[str], allowed: float, source: str | Path
) -> None:
    """Raise `InvalidDataset` if a larger share of the photos than allowed, or each, has a fault.

    Parameters
    ----------
    names
        Of the photos that were read; rows that were not count as one each.
    allowed
        Share, 0..1.
    """
    faults = [problem for problem in problems if problem.kind not in NOTICES]
    bad = {problem.name for problem in faults}
    total = len(names | bad)
    if len(bad) > allowed * total or not names - bad:
        raise InvalidDataset(
            f"{source}: {len(bad)} of {total} photos have problems, allowed are {allowed:.1%}:"
            f" {summary(by_kind(faults))}. Mend them, or allow more with --max-problems"
        )


def by_kind(problems: Iterable[Problem]) -> dict[str, list[str]]:
    """What has problems, under the kind of problem it has."""
    kinds: dict[str, list[str]] = defaultdict(list)
    for problem in problems:
        kinds[problem.kind].append(str(problem))
    return dict(kinds)


def summary(kinds: dict[str, list[str]]) -> str:
    """One line: of every kind the number and the first names."""
    return "; ".join(
        f"{len(names)} x {kind}: {', '.join(names[:3])}{', ...' if len(names) > 3 else ''}"
        for kind, names in kinds.items()
    )


def _captions(entry: Entry, max_words: int, problems: list[Problem]) -> tuple[str, ...]:
    """The captions that are fit for use; what is wrong with others is added to ``problems``."""
    kept = []
    for text in entry.captions:
        count = count_words(tokenize(text))
        if count == 0:
            problems.append(Problem(EMPTY_CAPTION, entry.name))
        elif count > max_words:
            problems.append(Problem(LONG_CAPTION, entry.name, f"{count} words"))
        else:
            kept.append(text.strip())
    if not kept:
        problems.append(Problem(NO_CAPTION, entry.name))
    return tuple(kept)
