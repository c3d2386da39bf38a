"""The share of the parts that one of several processes writes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

AUTO = "auto"
# Where array jobs find their index and the number of them: AWS Batch, Kubernetes (which does not
# say the number), SLURM.
_VARIABLES = (
    ("AWS_BATCH_JOB_ARRAY_INDEX", "AWS_BATCH_JOB_ARRAY_SIZE"),
    ("JOB_COMPLETION_INDEX", None),
    ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT"),
)


@dataclass(frozen=True)
class Share:
    """Every part whose number is ``index`` modulo ``count``."""

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise ValueError(
                f"--part {self.index}/{self.count}: the index is counted from 0, so it must be"
                f" in 0..{self.count - 1}"
            )

    @classmethod
    def parse(cls, text: str, environment: Mapping[str, str]) -> Self:
        """Return the share that ``I/N``, ``auto`` or ``auto/N`` means.

        Raises
        ------
        ValueError
            It is none of them, or the environment is not that of an array job.
        """
        match = re.fullmatch(rf"(\d+|{AUTO})(?:/([1-9]\d*))?", text)
        if match is None or (match[1] != AUTO and match[2] is None):
            raise ValueError(
                f"--part {text}: give I/N, such as 0/4, or {AUTO} or {AUTO}/N in an array job"
            )
        count = int(match[2]) if match[2] else None
        if match[1] == AUTO:
            return cls._of_array_job(count, environment)
        return cls(int(match[1]), count or 1)

    @classmethod
    def _of_array_job(cls, count: int | None, environment: Mapping[str, str]) -> Self:
        for index_name, count_name in _VARIABLES:
            if index_name not in environment:
                continue
            index = _integer(index_name, environment)
            if index_name.startswith("SLURM"):
                index = _slurm_index(index, environment)
            if count is None and count_name is not None and count_name in environment:
                count = _integer(count_name, environment)
            if count is None:
                raise ValueError(
                    f"--part {AUTO}: {index_name} is set, but the number of processes is not known;"
                    f" name it: --part {AUTO}/N"
                )
            return cls(index, count)
        names = ", ".join(name for name, _ in _VARIABLES)
        raise ValueError(f"--part {AUTO}: this is no array job; none of {names} is set")

    def numbers(self, parts: int) -> range:
        """Return the numbers of its parts."""
        return range(self.index, parts, self.count)


def _slurm_index(identity: int, environment: Mapping[str, str]) -> int:
    """Return the place, from 0, of a task in an array such as ``--array=1-7:2``."""
    first, step = (
        _integer(name, environment) if name in environment else default
        for name, default in (("SLURM_ARRAY_TASK_MIN", 0), ("SLURM_ARRAY_TASK_STEP", 1))
    )
    if (identity - first) % step:
        raise ValueError(f"--part {AUTO}: SLURM's array has gaps; name an array such as 0-15")
    return (identity - first) // step


def _integer(name: str, environment: Mapping[str, str]) -> int:
    try:
        return int(environment[name])
    except ValueError as error:
        raise ValueError(f"--part {AUTO}: {name} is {environment[name]}, no number") from error
