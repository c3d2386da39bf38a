"""The JSON files of Karpathy's and of COCO."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.training.data.sources import (
    CAPTIONS,
    NAMES,
    assert_reads,
    problems_of,
    split_of,
    write,
)
from training.data import datasets, problems
from training.data.problems import InvalidDataset


def test_karpathy_json(
    dataset: Path, karpathy: dict[str, Any], render: Callable[..., bytes]
) -> None:
    source = dataset / "dataset.json"
    read = datasets.read(write(source, karpathy))
    assert_reads(read, "karpathy", render)
    assert split_of(read) == dict(zip(NAMES, ("train", "train", "val", "test"), strict=True))

    # Two photos may have one name if their folders differ.
    first, second = karpathy["images"][:2]
    for image, folder in ((first, "train2014"), (second, "val2014")):
        inner = dataset / "Images" / folder
        inner.mkdir()
        (dataset / "Images" / image["filename"]).rename(inner / "blue_circle.jpg")
        image |= {"filepath": folder, "filename": "blue_circle.jpg"}
    read = datasets.read(write(source, karpathy))
    assert list(split_of(read))[:2] == ["train2014/blue_circle.jpg", "val2014/blue_circle.jpg"]
    assert not read.problems


@pytest.mark.parametrize(
    ("change", "kind", "name"),
    [
        ({"split": "extra"}, problems.BAD_ROW, "images[1] (split 'extra' is none of"),
        ({"split": []}, problems.BAD_ROW, "images[1] ("),
        ({"sentences": 5}, problems.BAD_ROW, "images[1] ("),
        ({"sentences": [{}]}, problems.BAD_ROW, "images[1] (it has no 'tokens')"),
        ({"sentences": [{"tokens": "a shape"}]}, problems.BAD_ROW, "images[1] ('tokens' is str"),
        ({"sentences": [{"raw": None}]}, problems.BAD_ROW, "images[1] (its captions are not all"),
        ({"filename": None}, problems.BAD_ROW, "images[1] ("),
        ({"filename": "x" * 999}, problems.BAD_ROW, "images[1] ("),
        ({"sentences": []}, problems.NO_CAPTION, "blue_square.jpg"),
        ({"filename": "gone.jpg"}, problems.MISSING, "gone.jpg"),
        ({"filename": "blue_circle.jpg"}, problems.DUPLICATE, "blue_circle.jpg"),
        ({"split": None}, problems.IN_NO_SPLIT, "blue_square.jpg"),
    ],
)
def test_a_bad_row_is_a_problem_and_the_reading_goes_on(
    dataset: Path, karpathy: dict[str, Any], change: dict[str, Any], kind: str, name: str
) -> None:
    karpathy["images"][1] |= change
    read = datasets.read(write(dataset / "dataset.json", karpathy))
    [problem] = read.problems
    assert problem.kind == kind
    assert str(problem).startswith(name)
    assert list(split_of(read)) == [NAMES[0], *NAMES[2:]]


def test_a_row_that_is_no_object(dataset: Path, karpathy: dict[str, Any]) -> None:
    karpathy["images"][1] = "blue_square.jpg"
    read = datasets.read(write(dataset / "dataset.json", karpathy))
    assert [(p.kind, p.name) for p in read.problems] == [(problems.BAD_ROW, "images[1]")]


@pytest.mark.parametrize("content", ["", "[]", "{}", "{", '{"images": 5}'])
def test_not_karpathy(tmp_path: Path, content: str) -> None:
    source = tmp_path / "dataset.json"
    source.write_text(content)
    with pytest.raises(InvalidDataset, match=r"dataset\.json is not JSON with a list 'images'"):
        datasets.read(source)


@pytest.mark.parametrize("folder", ["images", ".", "../val2017"])
def test_coco_json(dataset: Path, folder: str, render: Callable[..., bytes]) -> None:
    images = [{"id": i, "file_name": name} for i, name in enumerate(NAMES)]
    annotations = [{"image_id": i, "caption": text} for text in CAPTIONS for i in range(4)]
    document = {"images": images, "annotations": annotations}
    source = write(dataset / "annotations" / "captions_val2017.json", document)
    for name in NAMES:
        (source.parent / folder).mkdir(exist_ok=True)
        (dataset / "Images" / name).rename(source.parent / folder / name)
    read = datasets.read(source)
    assert_reads(read, "coco", render)
    assert split_of(read) == dict.fromkeys(NAMES, "val")

    annotations += [{"image_id": 9, "caption": "Nobody's"}, {"caption": "Of what?"}]
    assert problems_of(datasets.read(write(source, document))) == [
        (problems.BAD_ROW, "annotations[9] (it has no 'image_id')"),
        (problems.BAD_ROW, "annotations of image_id 9 (no image has this id)"),
    ]

    document = {"images": images, "annotations": annotations[:8]}
    images[1] = {"id": 0, "file_name": NAMES[1]}
    images[2] = {"id": 2}
    assert problems_of(datasets.read(write(source, document))) == [
        (problems.BAD_ROW, "images[1] (another image has its id, 0)"),
        (problems.BAD_ROW, "images[2] (it has no 'file_name')"),
        (problems.BAD_ROW, "annotations of image_id 1 (no image has this id)"),
    ]
