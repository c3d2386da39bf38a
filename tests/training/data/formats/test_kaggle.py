from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.data.sources import (
    problems_of,
    without_lists,
)
from training.data import datasets, problems
from training.data.photo import Photo
from training.data.problems import InvalidDataset


def test_kaggle_folder(dataset: Path) -> None:
    read = datasets.read(dataset)
    assert read.format == "kaggle"
    assert [photo.name for photo in read.photos] == [
        "red_circle.jpg", "red_square.jpg", "blue_circle.jpg", "blue_square.jpg",
    ]  # fmt: skip
    assert read.photos[0] == Photo(
        "red_circle.jpg",
        ("A red circle .", "red circle"),
        ("train", "val"),
        dataset / "Images" / "red_circle.jpg",
    )
    assert read.of_split("train") == read.of_split("val") == list(read.photos)
    assert {kind for kind, _ in problems_of(read)} == {problems.IN_SEVERAL_SPLITS}
    with pytest.raises(InvalidDataset, match="no split 'test'; it has train, val"):
        read.of_split("test")


def test_kaggle_folder_without_lists_has_no_splits(dataset: Path) -> None:
    without_lists(dataset)
    read = datasets.read(dataset)
    assert [(photo.splits, len(photo.captions)) for photo in read.photos] == [((), 2)] * 4
    assert read.problems == ()


def test_captions_hold_commas_quoted_or_not(dataset: Path) -> None:
    without_lists(dataset)
    path = dataset / "captions.txt"
    path.write_text(
        path.read_text()
        + 'red_circle.jpg,"A ball, a red one , lies here ."\n'
        + 'red_circle.jpg,Round , red .\nred_circle.jpg,"Never closed\nred_circle.jpg,The end\n'
    )
    assert datasets.read(dataset).photos[0].captions[2:] == (
        "A ball, a red one , lies here .",
        "Round , red .",
        "Never closed",
        "The end",
    )


def test_a_line_without_a_caption_is_named(dataset: Path) -> None:
    without_lists(dataset)
    with open(dataset / "captions.txt", "a") as file:
        file.write("red_circle.jpg\n\n")
    assert problems_of(datasets.read(dataset)) == [
        (problems.BAD_ROW, "captions.txt line 10 (it has no comma)")
    ]
