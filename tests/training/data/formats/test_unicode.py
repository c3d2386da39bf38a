"""Names of photos in both forms of Unicode, which are the same to people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.training.data.sources import (
    split_of,
    without_lists,
    write,
    write_metadata,
    write_tar,
)
from training.data import datasets, problems
from training.data.photo import Photo

DECOMPOSED, COMPOSED = "cafe\u0301.jpg", "caf\u00e9.jpg"


def named(dataset: Path, name: str) -> None:
    (dataset / "Images" / "red_circle.jpg").rename(dataset / "Images" / name)


@pytest.mark.parametrize(("on_disk", "listed"), [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED)])
@pytest.mark.parametrize("form", ["kaggle", "flickr8k-token", "imagefolder", "karpathy", "coco"])
def test_names_are_the_same_in_both_forms_of_unicode(
    dataset: Path, karpathy: dict[str, Any], form: str, on_disk: str, listed: str
) -> None:
    """The captions and the lists name the photo in either form, the disk in one."""
    without_lists(dataset)
    named(dataset, on_disk)
    source, split = dataset, "train"
    if form == "kaggle":
        text = f"image,caption\n{listed},one\n{on_disk},two\n"
        (dataset / "captions.txt").write_text(text, encoding="utf-8")
    elif form == "flickr8k-token":
        text = f"{on_disk}#0\tone\n{listed}#1\ttwo\n"
        (dataset / "Flickr8k.token.txt").write_text(text, encoding="utf-8")
    elif form == "imagefolder":
        source = dataset / "Images"
        names = ((listed, "one"), (on_disk, "two"))
        rows = [{"file_name": name, "text": text, "split": split} for name, text in names]
        write_metadata(source / "metadata.jsonl", rows)
    elif form == "karpathy":
        sentences = [{"raw": "one"}, {"raw": "two"}]
        karpathy["images"] = [{"filename": listed, "split": split, "sentences": sentences}]
        source = write(dataset / "dataset.json", karpathy)
    else:
        annotations = [{"image_id": 1, "caption": text} for text in ("one", "two")]
        images, split = [{"id": 1, "file_name": listed}], ""
        source = write(dataset / "x.json", {"images": images, "annotations": annotations})
    if form in ("kaggle", "flickr8k-token"):
        (dataset / "Flickr_8k.trainImages.txt").write_text(f"{listed}\n", encoding="utf-8")
    read = datasets.read(source)
    assert read.problems == ()
    path = dataset / "Images" / on_disk
    assert read.photos == (Photo(COMPOSED, ("one", "two"), (split,) if split else (), path),)


def test_photos_whose_names_differ_in_unicode_s_form_alone_are_ambiguous(dataset: Path) -> None:
    named(dataset, COMPOSED)
    (dataset / "Images" / DECOMPOSED).write_bytes(b"another")
    if len({path.name for path in (dataset / "Images").iterdir()}) < 5:
        pytest.skip("this file system takes them for one")
    without_lists(dataset)
    text = (dataset / "captions.txt").read_text().replace("red_circle.jpg", DECOMPOSED)
    (dataset / "captions.txt").write_text(text, encoding="utf-8")
    read = datasets.read(dataset)
    assert len(read.photos) == 3
    [problem] = read.problems
    assert (problem.kind, problem.name) == (problems.BAD_ROW, COMPOSED)
    assert "Images/ holds 2 files of the name" in problem.detail


def test_keys_of_tars_are_the_same_in_both_forms_of_unicode(tmp_path: Path) -> None:
    files = [(DECOMPOSED, b"photo"), (COMPOSED.replace("jpg", "txt"), b"A shape")]
    read = datasets.read(write_tar(tmp_path / "x.tar", files))
    assert (split_of(read), read.problems) == ({f"x.tar/{COMPOSED}": None}, ())
    read = datasets.read(write_tar(tmp_path / "x.tar", [*files, (COMPOSED, b"another")]))
    assert [problem.kind for problem in read.problems] == [problems.DUPLICATE]
