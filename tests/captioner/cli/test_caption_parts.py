"""``captioner caption SOURCE --out FOLDER/``, by a scripted server, which needs no checkpoint."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet
import pytest

from captioner.cli.main import main
from tests.captioner.cli.test_caption_table import by_content


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of 50 photos, one of which is bad."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(50):
        (folder / f"{i:03}.jpg").write_bytes(b"bad" if i == 7 else f"photo {i}".encode())
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_processes_share_a_folder(
    scripted,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    scripted.answer, out = by_content, tmp_path / "out"
    command = ["caption", str(folder), "--server", scripted.url, "--out", f"{out}/"]
    command += ["--part-size", "20"]
    assert main([*command, "--part", "1/2"]) == 0
    assert capsys.readouterr() == (
        f"{out}: 20 photos of share 1/2, 20 of them captioned now\n",
        "",
    )
    assert names(out) == ["part-00001.parquet", "run.json"]
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "0")
    assert main([*command, "--part", "auto/2"]) == 1
    assert capsys.readouterr() == (
        f"{out}: 30 photos of share 0/2, 30 of them captioned now\n",
        "captioner: 1 of 30 photos could not be captioned; the column error says why\n",
    )
    assert main(command) == 0
    assert capsys.readouterr().out == f"{out}: 50 photos, 0 of them captioned now\n"
    rows = [row for part in sorted(out.glob("*.parquet")) for row in rows_of(part)]
    assert [row["photo"] for row in rows] == [f"{folder}/{i:03}.jpg" for i in range(50)]
    assert [row["caption"] for row in rows if row["photo"].endswith("9.jpg")] == [
        f"photo {i}" for i in range(9, 50, 10)
    ]
    assert main([*command, "--beam-size", "3"]) == 1
    assert "--beam-size was 10 and is 3. Give the same ones" in capsys.readouterr().err


def rows_of(part: Path) -> list[dict[str, str]]:
    return list(pyarrow.parquet.read_table(part).to_pylist())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--part 0/2", "--part is about a folder of parts; name that: --out FOLDER/"),
        ("--out t.csv --part-size 9", "--part-size is about a folder of parts"),
        ("--out t.csv --ray", "--ray is about a folder of parts"),
        ("--out new/ --num-cpus 2", "--num-cpus is about Ray; add --ray"),
        ("--out new/ --overwrite", "--overwrite is about a table in one file"),
        ("--out new/ --skip-existing", "--skip-existing is about a table in one file"),
        ("--out new/ --sidecar txt", "--sidecar does not go with a table in parts"),
        ("--out new/ --watch", "--watch does not go with a table in parts; name a table in one"),
        ("--part 0/2 --sidecar xmp", "--sidecar does not go with a table in parts"),
        ("--watch --ray", "--watch does not go with a table in parts"),
        ("--out s3://bucket/t.csv --watch", "--watch does not go with a table in parts"),
        ("--out new/ --part-size 0", "--part-size is 0; it must be at least 1"),
        ("--out new/ --part 2/2", "must be in 0..1"),
        ("--out new/ --part auto", "this is no array job"),
        ("--out s3://bucket/t.csv", "a table in one file is written to this machine"),
        ("--out ftp://host/new", "--out ftp://host/new: ftp://host is not read"),
        ("- --out new/", "standard input (-) can be read once"),
        ("--out new/ --ray --part 0/2", "leave out --part"),
        ("--out new/ --ray --server http://x", "leave out --server"),
        ("--out new/ --ray --num-gpus -1", "--num-gpus is -1.0; it must not be negative"),
        ("--out new/ --ray more.jpg", "without an address, --ray must not stand before a SOURCE"),
        ("--out new/ --ray 127.0.0.1:1", "no cluster of Ray is there"),
        ("--out new/ --ray ray://head:10001", "the address of a cluster is HOST:PORT"),
    ],
)
def test_arguments_that_do_not_fit(
    arguments: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["caption", "photo.jpg", *arguments.split()]) == 1
    assert message in capsys.readouterr().err
    assert names(tmp_path) == []


def test_an_existing_folder_is_one_of_parts(
    scripted, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.answer = by_content
    command = ["caption", str(folder / "001.jpg"), "--server", scripted.url, "--out"]
    assert main([*command, str(folder)]) == 1
    assert "holds 000.jpg and no run.json" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main([*command, str(tmp_path / "empty")]) == 0
    assert names(tmp_path / "empty") == ["part-00000.parquet", "run.json"]
