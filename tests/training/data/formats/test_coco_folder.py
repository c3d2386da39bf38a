"""COCO's files of a year, prepared and evaluated together or one by one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.data.sources import CAPTIONS, NAMES, split_of, write
from training.data import datasets
from training.data.problems import InvalidDataset


def write_year(folder: Path, photos: Path, year: str) -> None:
    """Write the captions of a training and of a validation photo; move the photos."""
    for id, split in enumerate(("train", "val")):
        name = NAMES[id]
        images = [{"id": id, "file_name": name}]
        annotations = [{"image_id": id, "caption": text} for text in CAPTIONS]
        document = {"images": images, "annotations": annotations}
        write(folder / f"captions_{split}{year}.json", document)
        write(folder / f"instances_{split}{year}.json", {"images": images, "annotations": []})
        (photos / f"{split}{year}").mkdir(parents=True, exist_ok=True)
        content = photos / f"{split}{year}" / name
        content.write_bytes(b"photo")


@pytest.mark.parametrize("inner", [".", "annotations"])
@pytest.mark.parametrize("photos", [".", "images"])
@pytest.mark.parametrize("year", ["2014", "2017"])
def test_a_folder_of_coco(tmp_path: Path, inner: str, photos: str, year: str) -> None:
    write_year(tmp_path / inner, tmp_path / photos, year)
    read = datasets.read(tmp_path)
    assert (read.format, read.problems) == ("coco", ())
    assert split_of(read) == {NAMES[0]: "train", NAMES[1]: "val"}
    assert [photo.captions for photo in read.photos] == [CAPTIONS] * 2
    alone = datasets.read(tmp_path / inner / f"captions_val{year}.json")
    assert alone.of_split("val") == read.of_split("val") == [read.photos[1]]


def test_years_of_coco_are_not_mixed(tmp_path: Path) -> None:
    for year in ("2014", "2017"):
        write_year(tmp_path / "annotations", tmp_path, year)
    with pytest.raises(InvalidDataset, match=r"several years, captions_train2014\.json, "):
        datasets.read(tmp_path)


def test_captions_of_another_name_have_no_split(tmp_path: Path) -> None:
    write_year(tmp_path, tmp_path, "2017")
    (tmp_path / "captions_val2017.json").rename(tmp_path / "mine_val.json")
    assert split_of(datasets.read(tmp_path / "mine_val.json")) == {NAMES[1]: None}
