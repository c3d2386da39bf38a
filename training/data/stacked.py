"""Arrays of several files, read as if they were one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


class StackedArrays:
    """Arrays one after the other along their first axis; only rows that are asked for are copied.

    Parameters
    ----------
    arrays
        Of one type, and of one shape but for the first axis; memory-mapped or not.
    """

    def __init__(self, arrays: Sequence[np.ndarray]) -> None:
        self.arrays = arrays
        self._starts = np.cumsum([0, *map(len, arrays)])[:-1]

    def __getitem__(self, rows: Sequence[int]) -> NDArray[Any]:
        """Return the rows of these numbers, in this order."""
        wanted, first = np.asarray(rows), self.arrays[0]
        owners = np.searchsorted(self._starts, wanted, side="right") - 1
        found = np.empty((len(wanted), *first.shape[1:]), first.dtype)
        for owner in np.unique(owners):
            mine = owners == owner
            found[mine] = self.arrays[owner][wanted[mine] - self._starts[owner]]
        return found


def stacked(arrays: Sequence[np.ndarray]) -> np.ndarray | StackedArrays:
    """Return the only array itself, or several as one."""
    return arrays[0] if len(arrays) == 1 else StackedArrays(arrays)
