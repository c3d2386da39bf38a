"""Photos found by names that are not written as their files are."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.data.formats.file_index import FileIndex
from training.data.formats.folders import PhotoFolders


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"photo")


@pytest.mark.parametrize(
    ("listed", "file", "name"),
    [
        ("a/Chair.jpg", "a/Chair.jpg", "a/Chair.jpg"),
        ("./a/Chair.jpg", "a/Chair.jpg", "a/Chair.jpg"),
        (r"a\Chair.jpg", "a/Chair.jpg", "a/Chair.jpg"),
        (r".\A\chair.JPG", "a/Chair.jpg", "a/Chair.jpg"),
        ("Chair.jpg", "a/Chair.jpg", "Chair.jpg"),
        (r"C:\photos\chair.jpg", "a/Chair.jpg", r"C:\photos\chair.jpg"),
        ("https://example.com/x/chair.jpg", "a/Chair.jpg", "https://example.com/x/chair.jpg"),
        ("chair", "a/Chair.jpg", "chair"),
        ("else/b/lamp.jpg", "b/lamp.jpg", "else/b/lamp.jpg"),
    ],
)
def test_a_photo_is_found_where_one_alone_can_be_meant(
    tmp_path: Path, listed: str, file: str, name: str
) -> None:
    touch(tmp_path, "a/Chair.jpg", "a/lamp.jpg", "b/lamp.jpg", ".hidden/chair.jpg", "chair.txt")
    found = PhotoFolders([tmp_path]).find(listed)
    assert (found.file, found.name, found.hint) == (tmp_path / file, name, "")


@pytest.mark.parametrize(
    ("listed", "hint"),
    [
        ("lamp.jpg", "2 photos can be meant: a/lamp.jpg, b/lamp.jpg"),
        ("c/lamp", "2 photos can be meant: a/lamp.jpg, b/lamp.jpg"),
        ("Rod.jpg", "2 photos can be meant: ROD.jpg, rod.jpg"),
        ("photos/chiar.jpg", "the likeliest is a/Chair.jpg"),
        ("chair1.jpg", ""),
        ("zebra.png", ""),
    ],
)
def test_a_name_of_no_photo_or_of_several_comes_with_a_hint(
    tmp_path: Path, listed: str, hint: str
) -> None:
    touch(tmp_path, "a/Chair.jpg", "a/lamp.jpg", "b/lamp.jpg", "ROD.jpg", "rod.jpg")
    if len(list(tmp_path.glob("*.jpg"))) < 2:
        pytest.skip("case does not matter to this file system")
    found = PhotoFolders([tmp_path]).find(listed)
    assert (found.file, found.name, found.hint) == (None, listed, hint)


def test_a_photo_in_nested_folders_is_one(tmp_path: Path) -> None:
    touch(tmp_path, "Images/x.jpg")
    index = FileIndex([tmp_path / "Images", tmp_path / "nowhere", tmp_path])
    for name in ("X.jpg", "images/x.JPG"):
        assert (index.find(name).file, index.find(name).name) == (
            tmp_path / "Images" / "x.jpg",
            "x.jpg",
        )


def test_the_likeliest_name_is_looked_for_a_limited_number_of_times(tmp_path: Path) -> None:
    touch(tmp_path, "chair.jpg")
    index = FileIndex([tmp_path])
    hints = [index.find("chiar.jpg").hint for _ in range(100)]
    assert hints[0] == "the likeliest is chair.jpg"
    assert hints[99] == ""
