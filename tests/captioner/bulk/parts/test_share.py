"""The shares of the processes of an array job."""

from __future__ import annotations

import pytest

from captioner.bulk.parts.share import Share


@pytest.mark.parametrize("parts", [0, 1, 2, 7, 40])
@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_every_part_is_in_one_share(parts: int, count: int) -> None:
    shares = [Share(index, count).numbers(parts) for index in range(count)]
    assert sorted(number for share in shares for number in share) == list(range(parts))


BATCH = {"AWS_BATCH_JOB_ARRAY_INDEX": "3", "AWS_BATCH_JOB_ARRAY_SIZE": "8"}
SLURM = {"SLURM_ARRAY_TASK_ID": "5", "SLURM_ARRAY_TASK_COUNT": "4"}
STEPS = {"SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_STEP": "2"}


@pytest.mark.parametrize(
    ("text", "environment", "share"),
    [
        ("0/1", {}, Share(0, 1)),
        ("2/4", BATCH, Share(2, 4)),
        ("auto", BATCH, Share(3, 8)),
        ("auto/16", BATCH, Share(3, 16)),
        ("auto/5", {"JOB_COMPLETION_INDEX": "4"}, Share(4, 5)),
        ("auto", SLURM | STEPS, Share(2, 4)),
        ("auto/7", SLURM, Share(5, 7)),
    ],
)
def test_a_share_is_read(text: str, environment: dict[str, str], share: Share) -> None:
    assert Share.parse(text, environment) == share


@pytest.mark.parametrize(
    ("text", "environment", "message"),
    [
        ("4/4", {}, r"counted from 0, so it must be in 0\.\.3"),
        ("1", {}, "give I/N"),
        ("1/0", {}, "give I/N"),
        ("-1/2", {}, "give I/N"),
        ("auto", {}, "no array job"),
        ("auto", {"JOB_COMPLETION_INDEX": "4"}, r"name it: --part auto/N"),
        ("auto/4", {"JOB_COMPLETION_INDEX": "4"}, "in 0..3"),
        ("auto", SLURM | STEPS | {"SLURM_ARRAY_TASK_ID": "4"}, "gaps"),
        ("auto", BATCH | {"AWS_BATCH_JOB_ARRAY_INDEX": "x"}, "INDEX is x, no number"),
    ],
)
def test_a_share_that_is_none_is_refused(
    text: str, environment: dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Share.parse(text, environment)
