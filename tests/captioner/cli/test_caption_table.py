"""``captioner caption SOURCE --out TABLE``, by a scripted server, which needs no checkpoint."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from captioner.cli.main import main

ROOT = Path(__file__).resolve().parents[3]
MODEL = {"name": "captioner", "version": "1.0", "digest": "ab" * 32}


def by_content(asked: Any) -> tuple[int, Any]:
    """Answer with the photo's own bytes; ``bad`` is refused."""
    if asked.body == b"bad":
        return 400, {"error": {"code": "invalid_image", "message": "not an image"}}
    text = asked.body.decode()
    reply = {"caption": text, "confidence": 1 / len(text), "log_prob": -len(text), "model": MODEL}
    if "x-caption-return-tokens" in asked.headers:
        reply["tokens"] = [{"word": text, "log_prob": -len(text)}, {"word": "<end>", "log_prob": 0}]
    return 200, reply


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of 300 photos, some of which are bad."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(300):
        (folder / f"{i:03}.jpg").write_bytes(b"bad" if i % 50 == 7 else f"photo {i}".encode())
    return folder


def rows_of(table: Path) -> list[dict[str, str]]:
    with open(table, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_folder_becomes_a_table(
    scripted, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.answer, table = by_content, tmp_path / "table.csv"
    arguments = ["caption", str(folder), "none.jpg", "--server", scripted.url, "--out", str(table)]
    assert main([*arguments, "--tokens", "--min-confidence", "0.12"]) == 1
    out, err = capsys.readouterr()
    assert out == f"{table}: 301 photos\n"
    assert err.splitlines() == [
        "captioner: 7 of 301 photos could not be captioned; the column error says why"
    ]
    first, *rows = rows_of(table)
    assert first == {
        "photo": f"{folder}/000.jpg",
        "caption": "photo 0",
        "confidence": "0.1429",
        "log_prob": "-7.0",
        "error": "",
        "model": MODEL["digest"],
        "tokens": '[{"word": "photo 0", "log_prob": -7.0}, {"word": "<end>", "log_prob": 0.0}]',
    }
    assert [row["photo"] for row in rows[:-1]] == [f"{folder}/{i:03}.jpg" for i in range(1, 300)]
    assert rows[6] == dict.fromkeys(first, "") | {
        "photo": f"{folder}/007.jpg",
        "error": "not an image",
    }
    assert rows[-2]["error"] == "confidence 0.1111 is below 0.12"
    assert (rows[-2]["caption"], rows[-2]["confidence"]) == ("", "0.1111")
    assert rows[-1]["error"] == "No such file or directory"


def test_the_table_is_not_replaced_unasked(
    scripted, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.answer, table = by_content, tmp_path / "table.jsonl"
    table.write_text("mine")
    arguments = ["caption", f"{folder}/000.jpg", "--server", scripted.url, "--out", str(table)]
    assert main(arguments) == 1
    assert "is there already; add --overwrite" in capsys.readouterr().err
    assert not scripted.asked
    assert main([*arguments, "--overwrite"]) == 0
    assert json.loads(table.read_text())["caption"] == "photo 0"
    assert main([*arguments, "--skip-existing"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"{table}: 0 photos and 1 that it had"


def start(folder: Path, table: Path, server: str) -> subprocess.Popen[str]:
    command = ["-m", "captioner", "caption", folder, "--server", server, "--out", table]
    return subprocess.Popen(
        [sys.executable, *map(str, command)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_is_gone_on_with_by_the_same_command(
    scripted, folder: Path, tmp_path: Path, number: signal.Signals
) -> None:
    wanted, table = tmp_path / "wanted.csv", tmp_path / "table.csv"
    scripted.answer = by_content
    start(folder, wanted, scripted.url).communicate()
    process: list[subprocess.Popen[str]] = []
    scripted.asked.clear()

    def interrupting(asked: Any) -> tuple[int, Any] | None:
        if asked.body == b"photo 240":
            process[0].send_signal(number)
        return by_content(asked)

    scripted.answer = interrupting
    process.append(start(folder, table, scripted.url))
    _, err = process[0].communicate()
    assert process[0].returncode == 130
    assert not table.exists()
    first, last = err.splitlines()
    assert last == "captioner: interrupted"
    done = int(first.split()[1])
    assert first.endswith(f"{table}.part; the same command goes on from there")
    assert done % 32 == 0
    scripted.answer = by_content
    scripted.asked.clear()
    out, err = start(folder, table, scripted.url).communicate()
    assert out == f"{table}: 300 photos\n"
    assert table.read_bytes() == wanted.read_bytes()
    assert len(scripted.asked) == 300 - done


def test_other_options_are_refused(
    scripted, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.answer = lambda asked: (
        (500, {"code": 1, "type": "Broken", "message": "no"}) and (404, {"message": "gone"})
        if asked.body == b"photo 299"
        else by_content(asked)
    )
    table = tmp_path / "table.csv"
    arguments = ["caption", str(folder), "--server", scripted.url, "--out", str(table)]
    assert main(arguments) == 1
    assert "the same command goes on from there" in capsys.readouterr().err
    assert main([*arguments, "--beam-size", "3", "--no-recursive"]) == 1
    err = capsys.readouterr().err
    assert "--recursive was True and is False" in err
    assert "--beam-size was 10 and is 3" in err
    scripted.answer = by_content
    assert main(arguments) == 1
    assert len(rows_of(table)) == 300


def test_paths_from_standard_input(scripted, folder: Path) -> None:
    scripted.answer = by_content
    command = [sys.executable, "-m", "captioner", "caption", "-", "--server", scripted.url]
    names = f"{folder}/001.jpg\n{folder}/007.jpg\n{folder}/002.jpg"
    done = subprocess.run(command, cwd=ROOT, input=names.encode(), capture_output=True)
    assert done.returncode == 1
    assert done.stdout.decode().splitlines() == [
        f"{folder}/001.jpg: photo 1 (confidence 0.14)",
        f"{folder}/002.jpg: photo 2 (confidence 0.14)",
    ]
    assert done.stderr.decode().splitlines() == [
        f"captioner: {folder}/007.jpg: not an image",
        "captioner: 1 of 3 photos could not be captioned",
    ]


def test_a_photo_is_printed_while_others_are_captioned(scripted, folder: Path) -> None:
    """The last photo is answered only once the first one's line has been read."""
    process: list[subprocess.Popen[bytes]] = []
    printed: list[bytes] = []

    def answer(asked: Any) -> tuple[int, Any]:
        if asked.body == b"photo 299":
            assert process[0].stdout
            printed.append(process[0].stdout.readline())
        return by_content(asked)

    scripted.answer = answer
    command = [sys.executable, "-m", "captioner", "caption", folder, "--server", scripted.url]
    process.append(
        subprocess.Popen(
            list(map(str, command)), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
    )
    assert process[0].stdout
    with process[0].stdout:
        assert process[0].wait() == 1
    assert printed == [f"{folder}/000.jpg: photo 0 (confidence 0.14)\n".encode()]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--tokens"], "--tokens is about a table; name that with --out"),
        (["--skip-existing"], "--skip-existing is about a table or sidecars; give --out FILE or"),
        (["--watch"], "x.jpg is no folder of this machine; --watch watches folders"),
        (["--out", "x.xlsx"], "x.xlsx: the name of a table must end in .csv, .jsonl, .parquet"),
        (["--out", "x.csv", "--overwrite", "--skip-existing"], "give one"),
        (["--min-confidence", "1.5"], "--min-confidence is 1.5; it must be in 0..1"),
    ],
)
def test_options_that_do_not_go_together(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["caption", "x.jpg", "--server", "http://127.0.0.1:1", *options]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_what_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.fs", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    server = ["--server", "http://127.0.0.1:1"]
    for arguments in (["s3://bucket/a.jpg"], ["a.jpg", "--out", "x.parquet"], ["a.parquet"]):
        assert main(["caption", *arguments, *server]) == 1
        assert capsys.readouterr().err == (
            "captioner: pyarrow is not installed, which this needs: pip install 'captioner[bulk]'\n"
        )


def test_a_name_that_is_not_utf8_is_text_in_a_table(scripted, tmp_path: Path) -> None:
    scripted.answer = by_content
    (tmp_path / os.fsdecode(b"caf\xe9.jpg")).write_bytes(b"a dog")
    (tmp_path / "two\nlines.jpg").write_bytes(b"a cat")
    table = tmp_path / "table.csv"
    assert main(["caption", str(tmp_path), "--server", scripted.url, "--out", str(table)]) == 0
    assert [(row["photo"], row["caption"]) for row in rows_of(table)] == [
        (f"{tmp_path}/caf\\xe9.jpg", "a dog"),
        (f"{tmp_path}/two\nlines.jpg", "a cat"),
    ]
