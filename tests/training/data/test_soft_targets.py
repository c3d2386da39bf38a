"""The probabilities of teachers, in the words of a student."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from model.word_map import WordMap
from training.data.batches import TrainingSet
from training.data.mixture import Part
from training.data.photo import Photo
from training.data.soft_targets import SoftTargetTable
from training.data.taught import Lesson, Taught, Teacher

STUDENT = WordMap.build([["a", "dog", "runs"], ["a"]], 1)
VOCABULARY = ("a", "cat", "dog", "<end>")  # of the teachers; runs is the student's alone
LESSON = Lesson("", (Teacher("teacher", "0", ()),), 2, 3)


def part(photos: list[Photo], rows: list[int], taught: Taught | None) -> Part:
    prepared: Any = SimpleNamespace(photos=photos, rows=lambda split: rows)
    return Part("made-up", prepared, 1.0, taught)


def taught(counts: list[int], ids: list[list[int]], probabilities: list[list[float]]) -> Taught:
    return Taught(
        LESSON,
        VOCABULARY,
        {},
        np.array(counts),
        np.array(ids, np.uint8),
        np.array(probabilities, np.float16),
    )


# Two captions of "a dog" and one of "a": 3 + 2 places, of the photos in rows 0 and 2.
PHOTOS = [Photo("0", ("a dog",)), Photo("1", ("a",), ("val",)), Photo("2", ("a",))]
OF_PEOPLE = part(
    PHOTOS,
    [0, 2],
    taught(
        [3, 2],
        [[0, 1, 2], [2, 1, 0], [3, 1, 0], [1, 0, 3], [1, 1, 1]],
        [[0.5, 0.25, 0.125], [0.5, 0, 0], [0.75, 0.125, 0.125], [0.5, 0.25, 0], [1, 0, 0]],
    ),
)
FOUND = part([Photo("3", ())], [0], taught([2], [[0, 1, 2], [3, 2, 1]], [[0.5, 0.5, 0]] * 2))
UNTAUGHT = part([Photo("4", ("dog runs",))], [0], None)


def targets(table: SoftTargetTable, *photos: tuple[int, list[str]]) -> list[list[dict[str, float]]]:
    """Return the probability of each word with some, for each caption and place."""
    captions = [
        (row, [torch.tensor(STUDENT.encode(t.split())) for t in texts]) for row, texts in photos
    ]
    soft = table.of_photos(captions)
    return [
        [
            {STUDENT.words[i]: p for i, p in zip(*place, strict=True) if p}
            for place in zip(ids, probabilities, strict=True)
        ]
        for ids, probabilities in zip(soft.ids.tolist(), soft.probabilities.tolist(), strict=True)
    ]


def test_probabilities_of_words_that_the_student_knows_sum_to_the_share() -> None:
    table = SoftTargetTable([OF_PEOPLE], STUDENT, 0.5)
    first, second = targets(table, (2, ["a"]), (0, ["a dog"]))
    # cat is not the student's; and where nothing else is known, the true word has it all.
    assert first == [{"a": 0.5}, {}, {}]  # the last place is padding
    assert second == [
        {"a": pytest.approx(0.4), "dog": pytest.approx(0.1)},
        {"dog": 0.5},
        {"<end>": pytest.approx(0.75 / 0.875 / 2), "a": pytest.approx(0.125 / 0.875 / 2)},
    ]


def test_captions_that_teachers_found_are_learned_by_soft_targets_alone() -> None:
    for share in (0.0, 0.5):
        table = SoftTargetTable([FOUND, OF_PEOPLE], STUDENT, share)
        of_people, found = targets(table, (1, ["a dog"]), (0, ["a"]))
        assert found == [{"a": 1.0}, {"<end>": 0.5, "dog": 0.5}, {}]
        assert sum(of_people[1].values()) == share


def test_folders_that_are_not_taught_have_none() -> None:
    table = SoftTargetTable([UNTAUGHT, FOUND], STUDENT, 0.0)
    assert targets(table, (0, ["dog runs"]), (1, ["a"]))[0] == [{}, {}, {}]
    assert targets(table, (0, ["dog runs"])) == [[{}, {}, {}]]


def test_folders_may_be_taught_different_numbers_of_words() -> None:
    assert OF_PEOPLE.taught
    assert FOUND.taught
    fewer = dataclasses.replace(
        FOUND.taught, ids=FOUND.taught.ids[:, :1], probabilities=FOUND.taught.probabilities[:, :1]
    )
    table = SoftTargetTable([dataclasses.replace(FOUND, taught=fewer), OF_PEOPLE], STUDENT, 0.5)
    found, of_people = targets(table, (0, ["a"]), (1, ["a dog"]))
    assert found == [{"a": 1.0}, {"<end>": 1.0}, {}]
    assert [sum(place.values()) for place in of_people] == pytest.approx([0.5] * 3)


def test_they_travel_in_the_batch_in_the_order_of_its_captions() -> None:
    pixels = np.zeros((3, 3, 8, 8), np.uint8)
    table = SoftTargetTable([OF_PEOPLE], STUDENT, 1.0)
    dataset = TrainingSet(PHOTOS, pixels, [0, 2], STUDENT, soft_targets=table)
    batch = dataset[(0, [1, 0])]
    assert batch.soft_targets
    assert batch.soft_targets.ids.shape == (2, 3, 3)
    assert batch.lengths.tolist() == [3, 4]
    sums = batch.soft_targets.probabilities.sum(-1)
    torch.testing.assert_close(sums, torch.tensor([[1.0, 0, 0], [1, 1, 1]]))
    assert dataset[(0, [0])].to(torch.device("cpu")).soft_targets
    assert TrainingSet(PHOTOS, pixels, [0, 2], STUDENT)[(0, [0])].soft_targets is None
