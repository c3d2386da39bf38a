"""Calibration: from a caption's log-probability to the probability that it is a good caption."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path

from model.files import write_whole

CALIBRATION = "calibration.json"


@dataclass(frozen=True)
class Calibration:
    """Two figures fitted on captions with known scores, and the score of a good caption.

    Parameters
    ----------
    slope, intercept
        The line from a token's mean log-probability to the logarithm of the odds.
    threshold
        CIDEr-D, above 0, from which a caption was counted as good.

    Raises
    ------
    ValueError
        Names the figure that is out of range.
    """

    slope: float
    intercept: float
    threshold: float

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if type(value) not in (int, float) or not math.isfinite(value):
                raise ValueError(f"{name} is {value!r}; it must be a finite number")
        if self.threshold <= 0:
            raise ValueError(f"threshold is {self.threshold!r}; it must be above 0")

    @classmethod
    def load(cls, folder: str | Path) -> Calibration | None:
        """Read the calibration of a checkpoint folder; None if it has none.

        Raises
        ------
        ValueError
            Names the file and what is wrong with it.
        """
        path = Path(folder) / CALIBRATION
        names = {field.name for field in dataclasses.fields(cls)}
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(values, dict) or values.keys() != names:
                raise ValueError(f"it must be an object of {', '.join(sorted(names))}")
            return cls(**values)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            raise ValueError(
                f"{path}: {error}; delete it, 'captioner evaluate --calibrate' makes another"
            ) from error

    def save(self, folder: str | Path) -> Path:
        """Write it into a checkpoint folder, whole or not at all; return the file's path."""
        path = Path(folder) / CALIBRATION
        write_whole(path, (json.dumps(dataclasses.asdict(self), indent=2) + "\n").encode())
        return path

    def confidence(self, log_prob: float, words: int) -> float:
        """Estimate the probability, 0..1, that a caption's CIDEr-D is at least `threshold`.

        The estimate is ``1 / (1 + exp(-(slope * log_prob / (words + 1) + intercept)))``
        (Platt 1999, with the mean log-probability of a token in place of a margin).

        Parameters
        ----------
        log_prob
            Natural logarithm of the probability of the caption: of its words and ``<end>``.
        words
            The number of its words, without ``<end>``.
        """
        odds = self.slope * log_prob / (words + 1) + self.intercept
        return 0.5 * (1 + math.tanh(odds / 2))  # the same, without overflow
