"""``captioner caption FOLDER --watch``, by a scripted server, which needs no checkpoint."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from captioner.cli.main import main

ROOT = Path(__file__).resolve().parents[3]


def by_content(asked: Any) -> tuple[int, Any]:
    """Answer with the photo's own bytes."""
    model = {"name": "captioner", "version": "1.0", "digest": "ab" * 32}
    return 200, {
        "caption": asked.body.decode(),
        "confidence": 0.5,
        "log_prob": -1,
        "model": model,
    }


@contextmanager
def watching(folder: Path, server: str, *more: object) -> Iterator[subprocess.Popen[str]]:
    """Run the command for the block, from when it watches."""
    command = ["-m", "captioner", "caption", folder, "--watch", "--server", server, *more]
    with subprocess.Popen(
        [sys.executable, *map(str, command)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr
            line = process.stderr.readline()
            assert line == f"captioner: watching {folder}; Ctrl-C ends it\n"
            yield process
        finally:
            process.kill()


def test_lines_as_photos_appear_until_a_signal(scripted, tmp_path: Path) -> None:
    scripted.answer = by_content
    (tmp_path / "a.jpg").write_bytes(b"a dog")
    with watching(tmp_path, scripted.url) as process:
        assert process.stdout
        assert process.stdout.readline() == f"{tmp_path}/a.jpg: a dog (confidence 0.50)\n"
        (tmp_path / "b.jpg").write_bytes(b"a cow")
        assert process.stdout.readline() == f"{tmp_path}/b.jpg: a cow (confidence 0.50)\n"
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate()
    assert process.returncode == 0
    assert (out, err) == ("", "captioner: stopped after 2 photos\n")


def test_a_restart_goes_on_with_the_table(
    scripted, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second time after kill -9; the row is there by the time that its photo's is known."""
    scripted.answer, folder, table = by_content, tmp_path / "in", tmp_path / "table.jsonl"
    folder.mkdir()
    for number in (signal.SIGKILL, signal.SIGTERM):
        (folder / f"{number.name}.jpg").write_bytes(b"a dog")
        with watching(folder, scripted.url, "--out", table, "--sidecar", "txt") as process:
            while not table.read_bytes().count(f"{number.name}.jpg".encode()):
                assert process.poll() is None
            process.send_signal(number)
            process.communicate()
        assert process.returncode == (0 if number == signal.SIGTERM else -number)
    rows = [json.loads(line) for line in table.read_text().splitlines()]
    assert [row["photo"] for row in rows] == [f"{folder}/SIGKILL.jpg", f"{folder}/SIGTERM.jpg"]
    assert (folder / "SIGTERM.txt").read_text() == "a dog\n"
    assert len(scripted.asked) == 2
    watch = ["caption", str(folder), "--watch", "--server", scripted.url, "--out", str(table)]
    assert main([*watch, "--sidecar", "txt", "--num-captions", "2"]) == 1
    assert "--num-captions was 1 and is 2" in capsys.readouterr().err


def test_what_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    assert main(["caption", str(tmp_path), "--watch", "--server", "http://127.0.0.1:1"]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        "captioner: watchfiles is not installed, which this needs: pip install 'captioner[bulk]'"
    )
