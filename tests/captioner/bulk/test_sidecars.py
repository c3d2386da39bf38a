"""Sidecars are written whole, beside photos that have a caption, and none is touched."""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from captioner.bulk import sidecars
from captioner.bulk.lines import LineSink
from captioner.bulk.photo import Photo
from captioner.bulk.resumption import TablePlan, open_table
from captioner.bulk.row import COLUMNS, Row
from captioner.bulk.run import Counts, Sink, caption_all
from captioner.bulk.sidecars import FORMS, SidecarSink, check_sources
from captioner.bulk.sources.listing import Listing
from model.files import write_new
from tests.captioner.bulk.fakes import EchoEngine

HARD = 'a <dog> & "cat"\tin 雪 🐕\x07'  # a bell may not be in XML


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of three photos, of which one is bad."""
    folder = tmp_path / "photos"
    (folder / "below").mkdir(parents=True)
    (folder / "a.jpg").write_bytes(b"a dog")
    (folder / "b.JPG").write_bytes(b"bad")
    (folder / "below" / "c.png").write_bytes(b"a cow")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """Return what all files of a folder hold, hidden ones included."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def run(folder: Path, form: str, skip: bool = False, sink: Sink | None = None) -> list[str]:
    """Caption a folder with sidecars; return what is said of them."""
    said: list[str] = []
    beside = SidecarSink(sink or LineSink(said.append), form, COLUMNS, skip, said.append)
    caption_all(Listing([str(folder)]), EchoEngine(), beside)
    return said


@pytest.mark.parametrize(
    ("form", "names"),
    [
        ("txt", ["a.txt", "below/c.txt"]),
        ("json", ["a.jpg.json", "below/c.png.json"]),
        ("xmp", ["a.jpg.xmp", "below/c.png.xmp"]),
    ],
)
def test_photos_with_a_caption_get_one(form: str, names: list[str], folder: Path) -> None:
    photos = contents(folder)
    assert run(folder, form) == [f"{folder}/b.JPG: not an image", "sidecars written: 2"]
    after = contents(folder)
    assert {name: after.pop(name) for name in photos} == photos
    assert sorted(after) == names
    assert b"a dog" in after[names[0]]
    assert b"a cow" in after[names[1]]
    assert all((folder / name).stat().st_mode & 0o777 == 0o644 for name in names)


def test_text_is_the_caption_and_json_the_row(folder: Path) -> None:
    run(folder, "txt")
    run(folder, "json")
    assert (folder / "a.txt").read_text() == "a dog\n"
    row = json.loads((folder / "a.jpg.json").read_text())
    assert tuple(row) == COLUMNS
    assert (row["photo"], row["caption"]) == (f"{folder}/a.jpg", "a dog")


def test_xmp_is_read_by_exiftool(folder: Path) -> None:
    if not shutil.which("exiftool"):
        pytest.skip("exiftool is not installed; .ci/run installs it")
    path = folder / "a.jpg.xmp"
    path.write_text(FORMS["xmp"].content(Row("a.jpg", HARD), COLUMNS), encoding="utf-8")
    command = ["exiftool", "-json", "-G1", "-struct", "-validate", "-warning", "-a", path]
    (found,) = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert found["ExifTool:Validate"] == "OK"
    command = ["exiftool", "-json", "-G1", "-lang", "en", "-XMP-dc:all", path]
    (found,) = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert found == {"SourceFile": str(path), "XMP-dc:Description": HARD.replace("\x07", " ")}


def test_a_sidecar_that_is_there_is_not_touched(folder: Path) -> None:
    (folder / "a.txt").write_text("mine")
    (folder / "below" / "c.txt").symlink_to("nowhere")
    assert run(folder, "txt", skip=True)[-1] == "sidecars written: 0; have one already: 2"
    (folder / "below" / "c.txt").unlink()
    said = run(folder, "txt")
    assert said[-1] == "sidecars written: 1; there before and left as they are: 1"
    assert (folder / "a.txt").read_text() == "mine"
    assert (folder / "below" / "c.txt").read_text() == "a cow\n"


def test_photos_with_a_sidecar_are_not_captioned_again(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(folder, "json")
    (folder / "d.jpg").write_bytes(b"a hen")
    capsys.readouterr()
    assert run(folder, "json", skip=True)[-1] == "sidecars written: 1; have one already: 2"
    assert [line.partition(": ")[0] for line in capsys.readouterr().out.splitlines()] == [
        f"{folder}/d.jpg"
    ]


def test_a_run_that_is_gone_on_with_writes_all(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full at the last sidecar; the table is gone on with all the same."""
    table = tmp_path / "table.csv"
    plan = TablePlan(table, COLUMNS, {})

    def full(path: Path, content: bytes) -> bool:
        if path.name == "c.png.xmp":
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return write_new(path, content)

    monkeypatch.setattr(sidecars, "write_new", full)
    with pytest.raises(OSError, match=r"No space left.*c\.png\.xmp"), open_table(plan) as sink:
        run(folder, "xmp", sink=sink)
    assert not table.exists()
    monkeypatch.undo()
    with open_table(plan) as sink:
        assert run(folder, "xmp", sink=sink) == ["sidecars written: 1"]
    assert len(table.read_text().splitlines()) == 4
    assert (folder / "below" / "c.png.xmp").exists()


def test_what_is_no_file_of_this_machine_is_refused() -> None:
    for source in ("s3://bucket/photos", "file:///photos", "shard.TAR", "shard.tgz"):
        with pytest.raises(ValueError, match=r"beside files of this machine; leave this source"):
            check_sources(["photos", source])
    check_sources(["photos", "list.txt", "photos.parquet"])
    errors: list[str] = []
    photos = [
        Photo("photos.parquet#0", lambda: b"a dog"),
        Photo.unreadable("gone.jpg", "gone"),
    ]
    sink = SidecarSink(LineSink(errors.append), "txt", COLUMNS, False, lambda _: None)
    assert caption_all(photos, EchoEngine(), sink) == Counts(2, 2)
    assert errors[0].startswith("photos.parquet#0: It is no file of this machine")
    assert errors[1] == "gone.jpg: gone"


def test_a_folder_that_is_read_only(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda path, _mode: path != folder)  # tests may be run by root
    said = run(folder, "txt")
    assert "a.jpg: No sidecar can be written in its folder" in said[0]
    assert said[-1] == "sidecars written: 1"
