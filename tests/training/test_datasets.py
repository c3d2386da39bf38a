from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from training import datasets
from training.datasets import InvalidDataset


def test_kaggle_folder(dataset: Path) -> None:
    examples = datasets.read(dataset)
    train = datasets.of_split(examples, "train")
    assert [e.path.name for e in train] == [
        "red_circle.jpg", "red_square.jpg", "blue_circle.jpg", "blue_square.jpg",
    ]  # fmt: skip
    assert train[0].captions == ("A red circle .", "red circle")
    assert len(datasets.of_split(examples, "val")) == 4
    with pytest.raises(InvalidDataset, match="no photo in its test split"):
        datasets.of_split(examples, "test")


def test_captions_hold_commas_quoted_or_not(dataset: Path) -> None:
    path = dataset / "captions.txt"
    path.write_text(
        path.read_text()
        + 'red_circle.jpg,"A ball, a red one , lies here ."\n'
        + "red_circle.jpg,Round , red .\nred_circle.jpg,   \n"
    )
    assert datasets.read(dataset)[0].captions[2:] == (
        "A ball, a red one , lies here .",
        "Round , red .",
    )


@pytest.fixture
def karpathy(dataset: Path) -> dict[str, Any]:
    images = []
    for i, path in enumerate(sorted((dataset / "Images").iterdir())):
        sentences = [{"raw": "A shape.", "tokens": ["a", "shape"]}, {"tokens": ["one", "shape"]}]
        split = ("train", "restval", "val", "test")[i]
        images.append({"filename": path.name, "split": split, "sentences": sentences})
    return {"images": images, "dataset": "shapes"}


def test_karpathy_json(dataset: Path, karpathy: dict[str, Any]) -> None:
    source = dataset / "dataset.json"
    source.write_text(json.dumps(karpathy))
    examples = datasets.read(source)
    assert [e.split for e in examples] == ["train", "train", "val", "test"]
    assert examples[0].captions == ("A shape.", "one shape")
    assert all(e.path.is_file() for e in examples)

    karpathy["images"][0]["filepath"] = "train2014"
    (dataset / "Images" / "train2014").mkdir()
    name = karpathy["images"][0]["filename"]
    (dataset / "Images" / name).rename(dataset / "Images" / "train2014" / name)
    source.write_text(json.dumps(karpathy))
    assert datasets.read(source)[0].path.parent.name == "train2014"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"split": "dev"}, r"images\[1\]: .*split 'dev'"),
        ({"sentences": 5}, r"images\[1\]"),
        ({"filename": None}, r"images\[1\]"),
        ({"sentences": []}, "1 photos without a caption: blue_square.jpg"),
        ({"filename": "gone.jpg"}, "1 photos that do not exist: gone.jpg"),
    ],
)
def test_karpathy_faults_are_named(
    dataset: Path, karpathy: dict[str, Any], change: dict[str, Any], message: str
) -> None:
    karpathy["images"][1] |= change
    source = dataset / "dataset.json"
    source.write_text(json.dumps(karpathy))
    with pytest.raises(InvalidDataset, match=message):
        datasets.read(source)


@pytest.mark.parametrize("content", ["", "[]", "{}", "{"])
def test_not_karpathy(tmp_path: Path, content: str) -> None:
    source = tmp_path / "dataset.json"
    source.write_text(content)
    with pytest.raises(InvalidDataset, match=r"dataset\.json is not JSON with a list 'images'"):
        datasets.read(source)


def test_kaggle_faults_are_named(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidDataset, match="neither a folder with"):
        datasets.read(tmp_path / "nowhere")
    with pytest.raises(InvalidDataset, match=r"captions\.txt: No such file"):
        datasets.read(tmp_path)
    with open(dataset / "Flickr_8k.trainImages.txt", "a") as file:
        file.write("lost.jpg\n")
    with pytest.raises(InvalidDataset, match=r"1 photos that do not exist: lost\.jpg"):
        datasets.read(dataset)
    (dataset / "Images" / "lost.jpg").write_bytes(b"")
    with pytest.raises(InvalidDataset, match=r"1 photos without a caption: lost\.jpg"):
        datasets.read(dataset)
    (dataset / "Flickr_8k.devImages.txt").unlink()
    with pytest.raises(InvalidDataset, match=r"devImages\.txt: No such file"):
        datasets.read(dataset)
    (dataset / "captions.txt").write_text("file,text\n")
    with pytest.raises(InvalidDataset, match="first line must be 'image,caption'"):
        datasets.read(dataset)
