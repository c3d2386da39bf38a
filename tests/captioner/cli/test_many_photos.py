"""``captioner caption`` with many files, some of them no photos, here and by a server."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from captioner.bulk.sources import stores
from captioner.cli.main import main
from captioner.photo_files import read_photo

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(params=["here", "by a server"])
def who(request: pytest.FixtureRequest, tiny_checkpoint: Path) -> list[str]:
    """The options for captioning in this process, or by a server."""
    if request.param == "here":
        return ["--checkpoint", str(tiny_checkpoint), "--device", "cpu"]
    scripted: Any = request.getfixturevalue("scripted")
    scripted.answer = lambda asked: (200, {"caption": "a dog", "log_prob": -1})
    return ["--server", scripted.url]


@pytest.fixture
def photos(tmp_path: Path, render) -> list[Path]:
    paths = [tmp_path / f"{i}.jpg" for i in range(5)]
    for path in paths:
        path.write_bytes(render())
    return paths


def test_each_file_that_cannot_be_read_has_its_own_error(
    who: list[str],
    photos: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, pipe, denied = (tmp_path / name for name in ("folder", "pipe", "denied.jpg"))
    folder.mkdir()
    os.mkfifo(pipe)
    denied.write_bytes(b"")

    def read(path: str) -> bytes:
        if path == str(denied):  # the user who runs the tests may be root, who may read everything
            raise PermissionError(13, "Permission denied", path)
        return read_photo(path)

    monkeypatch.setattr(stores, "read_photo", read)
    missing = tmp_path / "missing.jpg"
    files = [photos[0], missing, folder, photos[1], pipe, denied, Path(os.devnull), photos[2]]
    assert main(["caption", *map(str, files), *who]) == 1
    out, err = capsys.readouterr()
    assert [line.split(": ")[0] for line in out.splitlines()] == list(map(str, photos[:3]))
    assert err.splitlines() == [
        f"captioner: {missing}: No such file or directory",
        f"captioner: {folder}: No photo in this folder or below, by the endings of names",
        f"captioner: {pipe}: Not a regular file",
        f"captioner: {denied}: Permission denied",
        f"captioner: {os.devnull}: Not a regular file",
        "captioner: 5 of 8 photos could not be captioned",
    ]


def run(
    arguments: list[Any], cwd: Path, stdout: Any = subprocess.PIPE
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "captioner", *map(os.fsencode, arguments)],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"},
        stdout=stdout,
        stderr=subprocess.PIPE,
    )


@pytest.fixture
def server(scripted) -> list[str]:
    """The option for a server that captions anything: faster than loading a checkpoint."""
    scripted.answer = lambda asked: (200, {"caption": "a dog", "log_prob": -1})
    return ["--server", scripted.url]


def test_names_that_are_not_utf8_are_printed_as_they_are(server: list[str], tmp_path: Path) -> None:
    good, missing = os.fsdecode(b"caf\xe9.jpg"), os.fsdecode(b"th\xe9.jpg")
    (tmp_path / good).write_bytes(b"a photo")
    done = run(["caption", good, missing, *server], tmp_path)
    assert done.stdout == b"caf\xe9.jpg: a dog\n"
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        rb"captioner: th\udce9.jpg: No such file or directory",
        b"captioner: 1 of 2 photos could not be captioned",
    ]


def test_a_reader_that_stops_ends_the_command_quietly(
    server: list[str], photos: list[Path], tmp_path: Path
) -> None:
    read, written = os.pipe()
    os.close(read)
    try:
        done = run(["caption", *photos, *server], tmp_path, written)
    finally:
        os.close(written)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a full device")
def test_a_full_disk_is_reported_in_one_line(
    server: list[str], photos: list[Path], tmp_path: Path
) -> None:
    with open("/dev/full", "wb") as full:
        done = run(["caption", photos[0], *server], tmp_path, full)
    assert (done.returncode, done.stderr) == (1, b"captioner: No space left on device\n")
