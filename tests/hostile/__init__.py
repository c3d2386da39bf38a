"""Photos that were damaged or made to do harm, the same ones for the same seed."""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.hostile.building import PNG_START, png
from tests.hostile.crafted import crafted
from tests.hostile.damage import MUTATIONS, with_checksums
from tests.hostile.valid import valid_photos

__all__ = ["crafted", "hostile_photos", "png", "valid_photos"]


def hostile_photos(count: int, seed: int) -> Iterator[bytes]:
    """Yield every photo of `valid_photos` and `crafted`, then randomly damaged ones.

    Parameters
    ----------
    count
        The number of photos; `crafted` alone are about a hundred.
    """
    known = valid_photos() | crafted()
    yield from [*known.values()][:count]
    dice = random.Random(seed)
    # Photos that are slow to refuse are not used a hundred times.
    small = [d for name, d in known.items() if 0 < len(d) < 20_000 and "million" not in name]
    for _ in range(count - len(known)):
        data = dice.choice(small)
        for _ in range(dice.choice([1, 1, 1, 2, 3])):
            data = dice.choice(MUTATIONS)(data, small, dice)
        if data.startswith(PNG_START) and dice.random() < 0.7:
            data = with_checksums(data)  # otherwise nothing behind a checksum would be reached
        yield data
