"""The photos of folders: which, in which order, and under which names."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from captioner.bulk.sources.folder import photos_in
from captioner.bulk.sources.stores import LOCAL


def make(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode("utf-8", "surrogateescape"))


def names_in(folder: str | Path, recursive: bool = True) -> list[str]:
    return [photo.name for photo in photos_in(LOCAL, str(folder), recursive)]


def test_photos_of_all_levels_in_the_order_of_their_names(tmp_path: Path) -> None:
    make(tmp_path, "b.jpg", "a/2.png", "a/10.png", "c/d/e.tiff", "B.JPG", "a.webp", "notes.txt")
    wanted = ["B.JPG", "a/10.png", "a/2.png", "a.webp", "b.jpg", "c/d/e.tiff"]
    found = list(photos_in(LOCAL, str(tmp_path)))
    assert [photo.name for photo in found] == [f"{tmp_path}/{name}" for name in wanted]
    assert [photo.read() for photo in found] == [name.encode() for name in wanted]
    assert names_in(tmp_path, recursive=False) == [
        f"{tmp_path}/{name}" for name in ("B.JPG", "a.webp", "b.jpg")
    ]


def test_names_stand_as_the_folder_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "in/a.jpg")
    monkeypatch.chdir(tmp_path)
    for folder, name in (
        *(("in", "in/a.jpg"), ("in/", "in/a.jpg"), ("./in", "./in/a.jpg")),
        *((".", "./in/a.jpg"), ("../" + tmp_path.name, f"../{tmp_path.name}/in/a.jpg")),
    ):
        assert names_in(folder) == [name]


def test_hidden_files_and_folders_are_left_out(tmp_path: Path) -> None:
    make(tmp_path, ".a.jpg", "._b.jpg", ".thumbnails/c.jpg", "d/.e.jpg", "d/f.jpg")
    assert names_in(tmp_path) == [f"{tmp_path}/d/f.jpg"]


def test_odd_names_are_listed(tmp_path: Path) -> None:
    odd = ["a b.jpg", "c\nd.jpg", "e?#%20.jpg", "-f.jpg", "🐕.jpg", os.fsdecode(b"caf\xe9.jpg")]
    make(tmp_path, *odd)
    found = list(photos_in(LOCAL, str(tmp_path)))
    assert sorted(photo.name for photo in found) == sorted(f"{tmp_path}/{name}" for name in odd)
    for photo in found:
        assert photo.read() == os.fsencode(Path(photo.name).name)


def test_every_folder_is_gone_through_once(tmp_path: Path) -> None:
    make(tmp_path, "a/photo.jpg", "b/other.jpg")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "b" / "again").symlink_to(tmp_path / "a")
    (tmp_path / "c").symlink_to(tmp_path / "b")
    assert names_in(tmp_path) == [f"{tmp_path}/a/photo.jpg", f"{tmp_path}/b/other.jpg"]


def test_links_are_followed_and_broken_ones_are_errors(tmp_path: Path) -> None:
    make(tmp_path / "elsewhere", "one.jpg", "two/three.jpg")
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "broken.jpg").symlink_to("nowhere.jpg")
    (folder / "linked.jpg").symlink_to(tmp_path / "elsewhere" / "one.jpg")
    (folder / "more").symlink_to(tmp_path / "elsewhere" / "two")
    broken, linked, more = photos_in(LOCAL, str(folder))
    assert (linked.read(), more.read()) == (b"one.jpg", b"two/three.jpg")
    assert more.name == f"{folder}/more/three.jpg"
    with pytest.raises(FileNotFoundError):
        broken.read()


def test_deep_folders_are_listed(tmp_path: Path) -> None:
    """Deeper than functions may call one another."""
    depth = min(sys.getrecursionlimit(), 3800 - len(str(tmp_path))) // 2
    deep = tmp_path / "/".join(["d"] * depth)
    deep.mkdir(parents=True)
    (deep / "photo.jpg").touch()
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(300)
    try:
        assert names_in(tmp_path) == [f"{deep}/photo.jpg"]
    finally:
        sys.setrecursionlimit(limit)


def test_a_folder_that_cannot_be_listed_is_an_error_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "a/1.jpg", "b/2.jpg", "c/3.jpg")
    entries = LOCAL.entries

    def refuse(folder: str) -> object:  # the user who runs the tests may be root
        if folder.endswith("/b"):
            raise PermissionError(13, "Permission denied", folder)
        return entries(folder)

    monkeypatch.setattr(LOCAL, "entries", refuse)
    one, two, three = photos_in(LOCAL, str(tmp_path))
    assert (one.read(), three.read()) == (b"a/1.jpg", b"c/3.jpg")
    assert two.name == f"{tmp_path}/b"
    with pytest.raises(OSError, match="Permission denied"):
        two.read()


def test_a_folder_without_photos_is_an_error(tmp_path: Path) -> None:
    make(tmp_path, "notes.txt")
    (photo,) = photos_in(LOCAL, str(tmp_path))
    with pytest.raises(OSError, match="No photo in this folder or below"):
        photo.read()
