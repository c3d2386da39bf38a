"""The photos of a listing that are used, and the problems reported, whatever the format."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.data.sources import (
    problems_of,
    split_of,
    without_lists,
)
from training.data import datasets, problems
from training.data.problems import InvalidDataset, Problem


def test_photos_in_no_list_are_left_out_and_reported(dataset: Path) -> None:
    (dataset / "Flickr_8k.trainImages.txt").write_text("red_circle.jpg\nred_square.jpg\n")
    (dataset / "Flickr_8k.devImages.txt").unlink()
    read = datasets.read(dataset)
    assert split_of(read) == {"red_circle.jpg": "train", "red_square.jpg": "train"}
    kind = problems.IN_NO_SPLIT
    assert read.problems == (Problem(kind, "blue_circle.jpg"), Problem(kind, "blue_square.jpg"))


def test_problems_are_collected(dataset: Path) -> None:
    without_lists(dataset)
    with open(dataset / "captions.txt", "a") as file:
        file.write(f"red_circle.jpg, .\nred_square.jpg,{'very ' * 50}red\n")
        file.write("lost.jpg,A lost photo\nmute.jpg,\n")
    (dataset / "Images" / "mute.jpg").write_bytes(b"")
    lists = "red_circle.jpg\nred_square.jpg\nlost.jpg\nmute.jpg\nred_circle.jpg\nnever.jpg\n"
    (dataset / "Flickr_8k.trainImages.txt").write_text(lists)
    read = datasets.read(dataset)
    assert problems_of(read) == [
        (problems.EMPTY_CAPTION, "red_circle.jpg"),
        (problems.LONG_CAPTION, "red_square.jpg (51 words)"),
        (problems.MISSING, "lost.jpg"),
        (problems.EMPTY_CAPTION, "mute.jpg"),
        (problems.NO_CAPTION, "mute.jpg"),
        (problems.DUPLICATE, "red_circle.jpg"),
        (problems.MISSING, "never.jpg"),
        (problems.IN_NO_SPLIT, "blue_circle.jpg"),
        (problems.IN_NO_SPLIT, "blue_square.jpg"),
    ]
    assert [len(photo.captions) for photo in read.photos] == [2, 2]
    assert len(datasets.read(dataset, max_words=51).photos[1].captions) == 3


def test_a_source_of_no_known_form_is_named(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidDataset, match="nowhere does not exist"):
        datasets.read(tmp_path / "nowhere")
    for source in (tmp_path, dataset / "captions.txt", dataset / "Images"):
        with pytest.raises(InvalidDataset, match=r"known formats \(coco: a JSON file"):
            datasets.read(source)
    with pytest.raises(InvalidDataset, match="format is 'zip'; allowed: auto, coco, karpathy"):
        datasets.read(dataset, format="zip")
    (dataset / "captions.txt").write_text("file,text\n")
    with pytest.raises(InvalidDataset, match="first line must be 'image,caption'"):
        datasets.read(dataset)
    (dataset / "captions.txt").write_text("image,caption\n")
    without_lists(dataset)
    with pytest.raises(InvalidDataset, match="lists no photo in the format 'kaggle'"):
        datasets.read(dataset)
    (dataset / "captions.txt").write_bytes("image,caption\nà,à".encode("latin-1"))
    with pytest.raises(InvalidDataset, match=r"captions\.txt is not UTF-8"):
        datasets.read(dataset)


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ("karpathy", "shapes: Is a directory"),
        ("coco", r"shapes has no captions_train2017\.json or the like"),
        ("table", "shapes has no table with columns of photos and captions"),
        ("flickr8k-token", r"token\.txt: No such file"),
        ("imagefolder", "lists no photo in the format 'imagefolder'"),
        ("webdataset", "lists no photo in the format 'webdataset'"),
    ],
)
def test_a_source_not_of_the_form_it_was_said_to_be(dataset: Path, form: str, message: str) -> None:
    assert datasets.read(dataset, format="kaggle").format == "kaggle"
    with pytest.raises(InvalidDataset, match=message):
        datasets.read(dataset, format=form)


@pytest.mark.parametrize(
    ("names", "kept"),
    [
        (["red_circle.jpg", "old/red_circle.jpg"], ["red_circle.jpg"]),
        (["old/red_circle.jpg", "red_circle.jpg"], ["red_circle.jpg"]),
        (["old/red_circle.jpg", "new/red_circle.jpg"], []),
        (["old/red_circle.jpg", "new/red_circle.jpg", "red_circle.jpg"], ["red_circle.jpg"]),
    ],
)
def test_a_file_belongs_to_one_name(dataset: Path, names: list[str], kept: list[str]) -> None:
    without_lists(dataset)
    lines = ["image,caption", "blue_circle.jpg,blue", *(f"{name},red" for name in names)]
    (dataset / "captions.txt").write_text("\n".join(lines) + "\n")
    read = datasets.read(dataset)
    assert list(split_of(read)) == ["blue_circle.jpg", *kept]
    left_out = [name for name in names if name not in kept]
    assert [(p.kind, p.name) for p in read.problems] == [(problems.DUPLICATE, n) for n in left_out]


def test_a_missing_photo_comes_with_the_likeliest_name(dataset: Path) -> None:
    without_lists(dataset)
    (dataset / "captions.txt").write_text("image,caption\nRED_circle.JPG,red\nred_cirle.jpg,red\n")
    read = datasets.read(dataset)
    assert list(split_of(read)) == ["red_circle.jpg"]
    assert problems_of(read) == [
        (problems.MISSING, "red_cirle.jpg (the likeliest is red_circle.jpg)")
    ]
