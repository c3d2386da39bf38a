from __future__ import annotations

import json
import logging
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model import image
from tests.training.data.reds import COUNT, SIZE, described, files, names
from training.data.prepare import prepare
from training.data.prepared import Prepared
from training.data.problems import InvalidDataset


def test_prepared_photos_are_the_decoded_ones(source: Path, tmp_path: Path) -> None:
    prepared = prepare(source, tmp_path / "out", SIZE)
    assert sorted(files(tmp_path / "out")) == ["dataset.json", "photos.npy"]
    assert prepared.pixels.shape == (COUNT, 3, SIZE, SIZE)
    assert prepared.pixels.dtype == np.uint8
    assert not prepared.pixels.flags.writeable
    assert names(prepared) == sorted(f"{i}.jpg" for i in range(COUNT))
    for photo, held in zip(prepared.photos, prepared.pixels, strict=True):
        wanted = image.decode((source / "Images" / photo.name).read_bytes(), SIZE).numpy()
        np.testing.assert_array_equal(held, wanted)
        assert photo.captions == (f"shade number {photo.name[:-4]}", "a red circle")
    assert (prepared.image_size, prepared.source) == (SIZE, "reds")
    found = described(tmp_path / "out")
    assert (found["format"], found["seed"], found["problems"]) == ("kaggle", 1, {})
    assert str(tmp_path) not in json.dumps(found)


def test_splits_of_the_source_are_kept(source: Path, tmp_path: Path) -> None:
    (source / "Flickr_8k.trainImages.txt").write_text("0.jpg\n1.jpg\n2.jpg\n3.jpg\n")
    (source / "Flickr_8k.testImages.txt").write_text("4.jpg\n")
    prepared = prepare(source, tmp_path / "out", SIZE)
    assert prepared.splits["test"] == [4]
    assert [len(prepared.splits[split]) for split in ("train", "val")] == [3, 1]
    assert described(tmp_path / "out")["problems"]["photo in no split"]["count"] == 35

    (source / "Flickr_8k.devImages.txt").write_text("5.jpg\n0.jpg\n")
    prepared = prepare(source, tmp_path / "again", SIZE)
    assert prepared.splits == {"train": [0, 1, 2, 3], "val": [0, 5], "test": [4]}
    assert names(prepared) == [f"{i}.jpg" for i in range(6)]
    problems = described(tmp_path / "again")["problems"]
    assert problems["photo in several splits"] == {"count": 1, "names": ["0.jpg"]}


def test_what_cannot_be_used_is_left_out_and_reported(source: Path, tmp_path: Path) -> None:
    (source / "Images" / "3.jpg").write_bytes(b"no photo")
    (source / "Images" / "5.jpg").unlink()
    prepared = prepare(source, tmp_path / "out", SIZE)
    assert len(prepared.photos) == len(prepared.pixels) == COUNT - 2
    assert not {"3.jpg", "5.jpg"} & set(names(prepared))
    row = names(prepared).index("4.jpg")
    wanted = image.decode((source / "Images" / "4.jpg").read_bytes(), SIZE).numpy()
    np.testing.assert_array_equal(prepared.pixels[row], wanted)
    problems = described(tmp_path / "out")["problems"]
    assert problems["missing photo"] == {"count": 1, "names": ["5.jpg"]}
    assert problems["photo that cannot be decoded"]["names"][0].startswith("3.jpg (not an image")


def test_rows_with_surplus_fields_stop_it_or_are_listed(source: Path, tmp_path: Path) -> None:
    bad = [f"{i}.jpg,A red chair, a table, and a lamp" for i in range(3)]
    good = [f"{i}.jpg,a red circle" for i in range(3, COUNT)]
    metadata = source / "Images" / "metadata.csv"
    metadata.write_text("\n".join(["file_name,text", *bad, *good]))
    with pytest.raises(InvalidDataset, match=r"3 of 40 photos have problems.*metadata\.csv line 2"):
        prepare(source / "Images", tmp_path / "out", SIZE)
    metadata.write_text("\n".join(["file_name,text", *bad[:1], *good]))
    prepared = prepare(source / "Images", tmp_path / "out", SIZE)
    assert len(prepared.photos) == COUNT - 3
    [name] = described(tmp_path / "out")["problems"]["row that cannot be read"]["names"]
    assert name.startswith("metadata.csv line 2 (its fields are 4")


def test_too_many_problems(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(3):
        (source / "Images" / f"{i}.jpg").write_bytes(b"no photo")
    message = r"reds: 3 of 40 photos have problems, allowed are 5\.0%: 3 x photo that cannot be"
    with pytest.raises(InvalidDataset, match=message):
        prepare(source, tmp_path / "out", SIZE)
    assert not (tmp_path / "out" / "dataset.json").exists()
    for i in range(3):
        (source / "Images" / f"{i}.jpg").unlink()
    monkeypatch.setattr(image, "decode", None)  # nothing is decoded in vain
    with pytest.raises(InvalidDataset, match=r"3 x missing photo: 0\.jpg, 1\.jpg, 2\.jpg\. Mend"):
        prepare(source, tmp_path / "new", SIZE)
    assert not (tmp_path / "new").exists()
    monkeypatch.undo()
    assert len(prepare(source, tmp_path / "new", SIZE, max_problems=0.1).photos) == COUNT - 3


def test_photos_of_two_ways_of_decoding_are_not_mixed(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    prepare(source, out, SIZE)
    with monkeypatch.context() as patch:
        patch.setattr(image, "DECODING_VERSION", image.DECODING_VERSION + 1)
        with pytest.raises(InvalidDataset, match="another version of the captioner decodes them"):
            prepare(source, out, SIZE)
    found = described(out)
    assert found.pop("decoding") == image.DECODING_VERSION
    (out / "dataset.json").write_text(json.dumps(found))  # as it was before that was noted
    with pytest.raises(InvalidDataset, match="another version of the captioner decodes them"):
        prepare(source, out, SIZE)
    assert Prepared.open(out).photos  # what is there can still be used


def test_what_is_prepared_stays(
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    out = tmp_path / "out"
    first = prepare(source, out, SIZE)
    before = files(out)
    monkeypatch.setattr(image, "decode", None)  # nothing is decoded again
    with caplog.at_level(logging.INFO):
        assert prepare(source, out, SIZE) == first
    assert "out is prepared from" in caplog.text
    for change, message in (
        ({"image_size": 8}, "image_size 16, not 8"),
        ({"seed": 2}, "seed 1, not 2"),
        ({"val_share": 0.2}, r"val_share 0\.1, not 0\.2"),
    ):
        with pytest.raises(InvalidDataset, match=f"{message}; choose another --out, or add"):
            prepare(source, out, **{"image_size": SIZE} | change)
    with open(source / "captions.txt", "a") as file:
        file.write("0.jpg,one more\n")
    with pytest.raises(InvalidDataset, match="prepared with other photos or captions; choose"):
        prepare(source, out, SIZE)
    assert files(out) == before


def test_what_is_prepared_is_replaced_if_asked_for(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare(source, out, SIZE)
    (out / "notes.txt").write_text("mine")
    assert prepare(source, out, 8, overwrite=True).image_size == 8
    assert set(files(out)) == {"dataset.json", "photos.npy", "notes.txt"}


def test_a_place_that_cannot_be_written_is_found_before_reading(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr("training.data.prepare.datasets.read", lambda *a: pytest.fail("read first"))
    with pytest.raises(ValueError, match=r"cannot be written, because of .*file: Not a directory"):
        prepare(source, tmp_path / "file" / "out", SIZE)


@pytest.mark.parametrize(
    ("name", "content"),
    [("dataset.json", "{}"), ("dataset.json", "[]"), ("progress.json", "5"), ("photos.npy", "")],
)
def test_files_of_something_else_stay(
    source: Path, tmp_path: Path, name: str, content: str
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_text(content)
    with pytest.raises(InvalidDataset, match="choose another"):
        prepare(source, out, SIZE)
    assert files(out) == {name: content.encode()}


@pytest.mark.parametrize(
    ("option", "value"), [("image_size", 0), ("val_share", 1.0), ("max_problems", -0.1)]
)
def test_options_out_of_range(source: Path, tmp_path: Path, option: str, value: float) -> None:
    options: dict[str, Any] = {"image_size": SIZE, option: value}
    with pytest.raises(ValueError, match=f"{option} is {value}; it must be in"):
        prepare(source, tmp_path / "out", **options)


def test_photos_of_a_tar(source: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "reds.tar", "w") as tar:
        for i in range(4):
            (tmp_path / f"{i}.txt").write_text(f"shade number {i}\na red circle\n")
            tar.add(tmp_path / f"{i}.txt", f"{i}.txt")
            tar.add(source / "Images" / f"{i}.jpg", f"{i}.jpg")
    prepared = prepare(tmp_path / "reds.tar", tmp_path / "out", SIZE)
    assert names(prepared) == [f"reds.tar/{i}.jpg" for i in range(4)]
    for i, photo in enumerate(prepared.pixels):
        wanted = image.decode((source / "Images" / f"{i}.jpg").read_bytes(), SIZE).numpy()
        np.testing.assert_array_equal(photo, wanted)
