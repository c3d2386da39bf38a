from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from model import files
from model.files import (
    check_new,
    check_place,
    is_locked,
    locked,
    locked_folder,
    replace_folder,
    write_new,
    write_whole,
)


def test_a_file_is_written_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file"
    for content in (b"before", b""):
        write_whole(path, content)
        assert path.read_bytes() == content
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
        assert list(path.parent.iterdir()) == [path]


def test_the_content_is_on_disk_before_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, seen = tmp_path / "file", []

    def fsync(descriptor: int) -> None:
        seen.append((stat.S_ISDIR(os.fstat(descriptor).st_mode), path.exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    write_whole(path, b"content")
    assert seen == [(False, False), (True, True)]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_failure_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before")

    def full_disk(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os if step == "fsync" else Path, step, full_disk)
    with pytest.raises(OSError, match="No space"):
        write_whole(path, b"after")
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("in_one_step", [True, False])
def test_a_folder_replaces_another(
    tmp_path: Path, in_one_step: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not in_one_step:
        monkeypatch.setattr(files, "_exchange", lambda one, other: False)
    for content in ("first", "second"):
        new = tmp_path / ".new"
        new.mkdir()
        (new / content).write_text(content)
        replace_folder(new, tmp_path / "folder")
        assert [path.name for path in tmp_path.iterdir()] == ["folder"]
        assert [path.name for path in (tmp_path / "folder").iterdir()] == [content]


def test_the_name_is_never_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever fails after the exchange, the new folder has the name."""
    for name in ("folder", ".new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()

    def killed(path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("model.files.shutil.rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        replace_folder(tmp_path / ".new", tmp_path / "folder")
    assert (tmp_path / "folder" / ".new").exists()


def test_nothing_is_replaced_unless_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "file"
    check_new(path)
    path.write_text("mine")
    with pytest.raises(ValueError, match="file is there already; add --overwrite"):
        check_new(path)
    check_new(path, overwrite=True)
    with pytest.raises(ValueError, match="is a folder"):
        check_new(tmp_path, overwrite=True)
    assert [found.name for found in tmp_path.iterdir()] == ["file"]
    assert path.read_text() == "mine"


@pytest.mark.parametrize("name", ["file/out", "file/new/out", "."])
def test_a_place_that_takes_nothing_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"Not a directory; choose another|no name of its own"):
        check_place(Path(name) if name == "." else tmp_path / name)


def test_a_folder_that_may_not_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason may be rights, another user's folder or a disk that is mounted read-only."""

    def refuse(*arguments: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("model.files.tempfile.mkdtemp", refuse)
    with pytest.raises(ValueError, match=f"because of {tmp_path}: Permission denied"):
        check_place(tmp_path / "new" / "out")


BUSY = ValueError("another process is at work")


def test_a_lock_is_refused_while_it_is_held(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "lock"):
        with (
            locked(path, BUSY),
            pytest.raises(ValueError, match="another process is at work"),
            locked(path, BUSY),
        ):
            pass
        with locked(path, BUSY):
            pass


def test_a_lock_is_held_as_long_as_a_process_has_its_descriptor(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not is_locked(path)
    with locked(path) as descriptor:
        holder = subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=[descriptor])
    assert is_locked(path)
    holder.communicate()
    assert not is_locked(path)


def test_a_folder_that_was_made_for_a_lock_goes_after_a_failure(tmp_path: Path) -> None:
    for folder, kept in ((tmp_path / "new", False), (tmp_path, True)):
        with pytest.raises(OSError, match="full"), locked_folder(folder, ".lock", BUSY):
            raise OSError("full")
        assert folder.exists() == kept
    (tmp_path / "file").touch()
    with (
        pytest.raises(ValueError, match="choose another folder"),
        locked_folder(tmp_path / "file", ".lock", BUSY),
    ):
        pass


@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
def test_a_new_file_replaces_nothing(
    tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    if not links:
        monkeypatch.setattr(Path, "hardlink_to", refuse)
    path = tmp_path / "file"
    assert write_new(path, b"first")
    assert not write_new(path, b"second")
    assert path.read_bytes() == b"first"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
    with pytest.raises(FileNotFoundError, match="none/file"):
        write_new(tmp_path / "none" / "file", b"")
