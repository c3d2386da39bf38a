"""Lists, tars, tables and addresses as sources of photos."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from captioner.bulk.photo import reason_of
from captioner.bulk.sources import parquet, stores
from captioner.bulk.sources.listing import Listing


@pytest.fixture(params=["here", "at an address"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The temporary folder, by its path or by its address."""
    return str(tmp_path) if request.param == "here" else f"file://{tmp_path}"


def contents(*sources: object, **options: Any) -> dict[str, bytes | str]:
    """Return the bytes of each photo by its name, or why it cannot be read."""
    listing = Listing([str(source) for source in sources], **options)
    listing.check()
    found: dict[str, bytes | str] = {}
    for photo in listing:
        assert photo.name not in found
        try:
            found[photo.name] = photo.read()
        except OSError as error:
            found[photo.name] = reason_of(error)
    return found


def write_tar(path: Path, files: dict[str, bytes], mode: str = "w") -> None:
    with tarfile.open(path, mode) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def test_sources_come_in_the_order_in_which_they_are_named(place: str, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for name in ("a.jpg", "b/1.jpg", "b/2.jpg", "z"):
        (tmp_path / name).write_bytes(name.encode())
    found = contents(f"{place}/z", f"{place}/b", f"{place}/a.jpg", f"{place}/none.jpg")
    assert list(found) == [f"{place}/{name}" for name in ("z", "b/1.jpg", "b/2.jpg", "a.jpg")] + [
        f"{place}/none.jpg"
    ]
    *good, missing = found.values()
    assert good == [b"z", b"b/1.jpg", b"b/2.jpg", b"a.jpg"]
    assert missing == "No such file or directory"


def test_a_tars_members_are_read_in_place(place: str, tmp_path: Path) -> None:
    files = {"d/1.jpg": b"one", "d/1.txt": b"a dog", "d/2.PNG": b"", "d/.3.jpg": b"hidden"}
    files |= {f"many/{i}.jpg": bytes([i]) * 1000 * i for i in range(40)}
    write_tar(tmp_path / "shard.tar", files)
    name = f"{place}/shard.tar"
    assert contents(name) == {
        f"{name}/{member}": content
        for member, content in files.items()
        if member not in ("d/1.txt", "d/.3.jpg")
    }


def test_a_link_and_a_damaged_end_of_a_tar_are_errors_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "shard.tar"
    write_tar(path, {"1.jpg": b"one", "2.jpg": b"two"})
    with tarfile.open(path, "a") as tar:
        link = tarfile.TarInfo("3.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "1.jpg"
        tar.addfile(link)
    found = contents(path)
    assert (found[f"{path}/1.jpg"], found[f"{path}/2.jpg"]) == (b"one", b"two")
    assert "It is a link" in str(found[f"{path}/3.jpg"])
    whole = path.read_bytes()
    path.write_bytes(whole[:1024] + b"\xff" * 512 + whole[1536:])
    found = contents(path)
    assert found[f"{path}/1.jpg"] == b"one"
    assert "damaged at byte 1024" in str(found[str(path)])


def test_compressed_tars_and_no_tars_are_errors(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar.gz", {"1.jpg": b"one"}, "w:gz")
    (tmp_path / "b.tar").write_bytes(b"no tar at all" * 100)
    found = list(contents(tmp_path / "a.tar.gz", tmp_path / "b.tar", tmp_path / "c.tar").values())
    assert found[0] == "It is compressed; decompress it first"
    assert "It is no whole tar" in str(found[1])
    assert found[2] == "No such file or directory"


def test_a_list_has_a_path_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths are relative to the current folder, wherever the list lies."""
    monkeypatch.chdir(tmp_path)
    names = ["a b.jpg", "noending", os.fsdecode(b"caf\xe9.jpg")]
    for name in names:
        Path(name).write_bytes(os.fsencode(name))
    (tmp_path / "lists").mkdir()
    lines = [b"\xef\xbb\xbfa b.jpg", b"", b"noending\r", b"caf\xe9.jpg", b"missing.jpg"]
    Path("lists/list.TXT").write_bytes(b"\n".join(lines))
    wanted: dict[str, bytes | str] = {name: os.fsencode(name) for name in names}
    wanted["missing.jpg"] = "No such file or directory"
    assert contents("lists/list.TXT") == wanted
    assert contents("none.lst") == {"none.lst": "No such file or directory"}
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"\n".join(lines))))
    assert contents("-") == wanted


def test_a_list_may_name_addresses(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"a")
    (tmp_path / "list.txt").write_text(f"file://{tmp_path}/a.jpg\nhttp://example.org/b.jpg\n")
    found = contents(tmp_path / "list.txt")
    assert found[f"file://{tmp_path}/a.jpg"] == b"a"
    assert "http://example.org is not read" in str(found["http://example.org/b.jpg"])


def test_standard_input_is_read_once() -> None:
    with pytest.raises(ValueError, match=r"standard input \(-\) is named twice"):
        Listing(["-", "a.jpg", "-"]).check()


def test_names_are_listed_as_they_are_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, written = os.pipe()
    with open(read, "rb") as lines, open(written, "wb", buffering=0) as writer:
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=lines))
        photos = iter(Listing(["-"]))
        writer.write(b"a.jpg\n")  # the pipe stays open
        assert next(photos).name == "a.jpg"


def test_a_table_of_bytes(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "ROWS_AT_A_TIME", 3)
    values = [bytes([i]) for i in range(8)]
    table = pyarrow.table({"text": ["x"] * 8, "image": values})
    pyarrow.parquet.write_table(table, tmp_path / "p.parquet", row_group_size=5)
    name = f"{place}/p.parquet"
    assert contents(name) == {f"{name}#{i}": value for i, value in enumerate(values)}


def test_a_table_of_structs_as_hugging_face_writes_them(tmp_path: Path) -> None:
    (tmp_path / "b.jpg").write_bytes(b"b")
    values = [{"bytes": b"a", "path": "a.jpg"}, {"bytes": None, "path": "b.jpg"}, None]
    path = tmp_path / "p.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"image": values}), path)
    found = contents(path)
    assert (found[f"{path}#0"], found["b.jpg"]) == (b"a", b"b")
    assert found[f"{path}#2"] == "The column image holds neither a path nor bytes here"


def test_a_table_of_paths_is_relative_to_its_folder(place: str, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"a")
    values = ["a.jpg", f"{tmp_path}/a.jpg", "missing.jpg", ""]
    table = pyarrow.table({"url": ["x"] * 4, "file_name": values})
    pyarrow.parquet.write_table(table, tmp_path / "p.parquet")
    found = contents(f"{place}/p.parquet")
    assert (found["a.jpg"], found[f"{tmp_path}/a.jpg"]) == (b"a", b"a")
    assert found["missing.jpg"] == "No such file or directory"
    assert "neither a path nor bytes" in str(found[f"{place}/p.parquet#3"])


def test_the_column_of_a_table_is_named_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"text": ["x"], "picture": [b"a"]}), path)
    assert contents(path, image_column="picture") == {f"{path}#0": b"a"}
    for column, missing in ((None, "no column with a usual name"), ("x", "no column 'x'")):
        with pytest.raises(ValueError, match=f"{missing}.*--image-column: text, picture"):
            contents(path, image_column=column)


def test_a_damaged_or_missing_table_is_an_error_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and nothing more")
    found = list(contents(tmp_path / "a.parquet", tmp_path / "b.parquet").values())
    assert "It is no whole Parquet file" in str(found[0])
    assert found[1] == "No such file or directory"


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("http://example.org/a.jpg", "http://example.org is not read; .* s3://, gs://, file://"),
        ("s3://key:secret@bucket/photos", "must be without a user and password"),
    ],
)
def test_addresses_that_are_refused(address: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as refused:
        Listing([address]).check()
    assert "secret" not in str(refused.value)


def test_an_address_is_taken_literally(tmp_path: Path) -> None:
    folder = tmp_path / "a b%20c"
    folder.mkdir()
    (folder / "d e#f.jpg").write_bytes(b"x")
    name = f"file://{folder}"
    assert contents(name) == {f"{name}/d e#f.jpg": b"x"}
    assert contents(f"{name}/d e#f.jpg") == {f"{name}/d e#f.jpg": b"x"}


def test_photos_are_counted_where_that_is_quick(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).touch()
    assert Listing([str(tmp_path), "c.jpg"]).count() == 3
    assert Listing([str(tmp_path), "-"]).count() is None
    assert Listing([str(tmp_path), "c.tar"]).count() is None
    assert stores.is_address("s3://a/b")
    assert not stores.is_address("C/s3:/a")
