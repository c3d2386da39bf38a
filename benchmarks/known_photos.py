"""Photos whose caption is known beforehand, so that a wrong reply to any of them is noticed."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import inputs
from model import Captioner, DecodingOptions


@dataclass(frozen=True)
class Selection:
    """The number of photos that are selected, and of those they are selected from."""

    photos: int = 128  # to be asked for in turn
    candidates: int = 192  # that these are selected from
    batches: int = 4  # of random composition, in which each candidate is captioned


@dataclass(frozen=True)
class KnownPhotos:
    """Photos with the caption that each has when it is captioned alone, in process.

    Parameters
    ----------
    photos
        JPEGs.
    captions
        The caption of each.
    left_out
        How many candidates were left out, because their caption depends on the composition of the
        batch: two words are equally likely but for rounding, which differs between batch sizes.
    rate
        Photos a second in process, in batches, roughly.
    """

    photos: list[bytes]
    captions: list[str]
    left_out: int
    rate: float

    @property
    def different(self) -> int:
        """The number of different captions."""
        return len(set(self.captions))


def select_photos(
    captioner: Captioner, decoding: DecodingOptions, folder: Path | None, selection: Selection
) -> KnownPhotos:
    """Select photos whose caption is the same alone and in any batch, with different captions.

    Parameters
    ----------
    folder
        Of JPEGs; None for synthetic photos.

    Raises
    ------
    ValueError
        There is no such photo.
    """
    # The same photo twice would hide which of the two a reply belongs to.
    found = list(dict.fromkeys(inputs.photos(selection.candidates, folder)))
    alone = [texts(captioner, [photo], decoding)[0] for photo in found]
    same = [True] * len(found)
    random_order = random.Random(0)
    seconds = 0.0
    for _ in range(selection.batches):
        for rows in random_batches(len(found), random_order):
            start = time.perf_counter()
            together = texts(captioner, [found[row] for row in rows], decoding)
            seconds += time.perf_counter() - start
            for row, text in zip(rows, together, strict=True):
                same[row] &= text == alone[row]
    kept = [row for row in range(len(found)) if same[row]]
    if not kept:
        raise ValueError("no photo has the same caption alone and in a batch; take other photos")
    chosen = different_first(kept, alone)[: selection.photos]
    return KnownPhotos(
        [found[row] for row in chosen],
        [alone[row] for row in chosen],
        len(found) - len(kept),
        selection.batches * len(found) / seconds,
    )


def texts(captioner: Captioner, photos: Sequence[bytes], decoding: DecodingOptions) -> list[str]:
    """Return the best caption of each photo."""
    return [captions[0].text for captions in captioner.caption(photos, decoding)]


def random_batches(count: int, order: random.Random, largest: int = 32) -> Iterator[list[int]]:
    """Yield all positions once, in random order and in batches of random size."""
    rows = list(range(count))
    order.shuffle(rows)
    while rows:
        size = order.randint(1, largest)
        yield rows[:size]
        rows = rows[size:]


def different_first(rows: Sequence[int], captions: Sequence[str]) -> list[int]:
    """Order rows so that each caption comes once before any comes again.

    Among photos with different captions it is noticed when one gets another's caption.
    """
    before: Counter[str] = Counter()
    turns = []
    for row in rows:
        turns.append((before[captions[row]], row))
        before[captions[row]] += 1
    return [row for _, row in sorted(turns)]
