"""The scores of a captioner on the validation photos of each data set of a training."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean

from training.scoring.wording import Wording


@dataclass(frozen=True)
class ValidationScores:
    """The scores of one captioner, and the wording of its captions."""

    by_dataset: dict[str, dict[str, float]]  # name of a dataset -> name of a score -> value
    wording: dict[str, Wording]  # by the name of the dataset

    @property
    def mean(self) -> dict[str, float]:
        """The mean of each score over the datasets; that of CIDEr chooses the epoch.

        Every dataset counts the same: in a mean over photos the largest would choose alone.
        """
        each = list(self.by_dataset.values())
        return {name: fmean(scores[name] for scores in each) for name in each[0]}
