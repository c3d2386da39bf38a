"""Folders of photos that nobody has captioned."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest

from model import image
from training.data.prepare import prepare
from training.data.prepared import Prepared
from training.data.problems import InvalidDataset
from training.data.uncaptioned import read_uncaptioned
from training.scoring.split import Split

SIZE = 32


@pytest.fixture
def photos(tmp_path: Path, render) -> Path:
    folder = tmp_path / "photos"
    (folder / "inner" / ".thumbnails").mkdir(parents=True)
    (folder / "b.JPG").write_bytes(render("red"))
    (folder / "inner" / "a.png").write_bytes(render("blue", format="PNG"))
    (folder / "inner" / ".thumbnails" / "a.png").write_bytes(render("blue", format="PNG"))
    (folder / "inner" / "d.webp").write_bytes(render("green", format="WEBP"))
    (folder / "notes.txt").write_text("no photo")
    return folder


def test_every_photo_is_prepared_to_train_on(
    photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    prepared = prepare(photos, tmp_path / "out", SIZE, uncaptioned=True)
    assert [photo.name for photo in prepared.photos] == ["b.JPG", "inner/a.png", "inner/d.webp"]
    assert {photo.captions for photo in prepared.photos} == {()}
    assert prepared.splits == {"train": [0, 1, 2]}
    assert not prepared.captioned
    for photo, held in zip(prepared.photos, prepared.pixels, strict=True):
        wanted = image.decode((photos / photo.name).read_bytes(), SIZE).numpy()
        np.testing.assert_array_equal(held, wanted)
    assert "1 files are not named like photos: notes.txt" in caplog.text


def test_it_is_prepared_again_only_for_other_photos(photos: Path, tmp_path: Path) -> None:
    prepare(photos, tmp_path / "out", SIZE, uncaptioned=True)
    again = prepare(photos, tmp_path / "out", SIZE, uncaptioned=True)
    (photos / "b.JPG").unlink()
    with pytest.raises(InvalidDataset, match="prepared with other photos or captions"):
        prepare(photos, tmp_path / "out", SIZE, uncaptioned=True)
    (tmp_path / "out" / "taught.npz").write_bytes(b"of the photos before")
    new = prepare(photos, tmp_path / "out", SIZE, uncaptioned=True, overwrite=True)
    assert new.digest != again.digest
    assert not (tmp_path / "out" / "taught.npz").exists()


def test_a_photo_that_cannot_be_decoded_is_reported(photos: Path, tmp_path: Path) -> None:
    (photos / "c.jpg").write_bytes(b"no photo")
    with pytest.raises(InvalidDataset, match=r"1 of 4 photos have problems.*c\.jpg"):
        prepare(photos, tmp_path / "out", SIZE, uncaptioned=True)
    prepared = prepare(photos, tmp_path / "out", SIZE, uncaptioned=True, max_problems=0.5)
    assert len(prepared.photos) == 3


def test_no_score_is_computed_without_captions(photos: Path, tmp_path: Path) -> None:
    prepare(photos, tmp_path / "out", SIZE, uncaptioned=True)
    for split in ("train", "val"):
        with pytest.raises(InvalidDataset, match="without captions, which cannot be scored on"):
            Split.open(tmp_path / "out", split, SIZE)


def test_a_folder_of_photos_is_needed(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder, fault in (
        (tmp_path / "empty", "holds no file that is named like a photo"),
        (tmp_path / "nowhere", "does not exist"),
        (photos / "notes.txt", "is no folder"),
    ):
        with pytest.raises(InvalidDataset, match=fault):
            read_uncaptioned(folder)


def test_one_name_in_two_forms_of_unicode_is_one_photo(photos: Path, render) -> None:
    for form in ("NFC", "NFD"):
        (photos / f"{unicodedata.normalize(form, 'é')}.jpg").write_bytes(render())
    dataset = read_uncaptioned(photos)
    names = [photo.name for photo in dataset.photos]
    assert names.count("é.jpg") == 1
    assert [problem.kind for problem in dataset.problems] == ["photo listed twice"]


def test_prepared_folders_with_captions_are_captioned(prepared: Prepared) -> None:
    assert prepared.captioned


def test_photos_without_captions_have_no_columns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from captioner.cli.main import main

    arguments = ["--uncaptioned", "--image-column", "pic", "--out", str(tmp_path / "out")]
    assert main(["prepare", str(tmp_path), *arguments]) == 1
    assert "leave --uncaptioned out" in capsys.readouterr().err
