"""Files of photos: whole, or an error that says what is wrong with them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from captioner import photo_files
from captioner.photo_files import read_photo


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    for content in (b"", bytes(range(256)) * 5000):
        path.write_bytes(content)
        assert read_photo(path) == read_photo(str(path)) == content


@pytest.mark.parametrize("change", ["grown", "cut", "written again"])
def test_a_file_that_changes_while_it_is_read_is_an_error(
    change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"a photo")
    os.utime(path, ns=(1, 1))
    fstat, calls = os.fstat, 0

    def changing(descriptor: int) -> os.stat_result:
        nonlocal calls
        calls += 1
        if calls == 2:  # after the bytes were read
            with open(path, "r+b") as file:
                file.truncate({"grown": 9, "cut": 3}.get(change, 7))
                file.write(b"A")
        return fstat(descriptor)

    monkeypatch.setattr("captioner.photo_files.os.fstat", changing)
    with pytest.raises(OSError, match="It changed while it was read"):
        read_photo(path)
    assert calls == 2


def test_what_is_no_photo_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with open(tmp_path / "huge", "wb") as file:
        file.truncate(photo_files.MAX_BYTES + 1)  # a hole, which takes no room
    for name, error in (
        *(("pipe", "Not a regular file"), ("huge", r"Too large for a photo, 1\.0 GiB")),
        *((".", "Is a directory"), ("missing", "No such file")),
    ):
        with pytest.raises(OSError, match=error):
            read_photo(tmp_path / name)
