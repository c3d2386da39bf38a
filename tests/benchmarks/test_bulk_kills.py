"""Tests of how a table that was killed is compared with an undisturbed one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.bulk_kills import are_equal, contents
from model import files


def test_what_a_killed_writer_leaves_is_no_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.write_new(tmp_path / "part-00000.csv", b"1")
    wanted = contents(tmp_path)
    # As if it were killed before it can delete its file.
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(SystemExit))
    monkeypatch.setattr(Path, "unlink", lambda *_, **__: None)
    with pytest.raises(SystemExit):
        files.write_new(tmp_path / "part-00001.csv", b"2")
    assert len(list(tmp_path.iterdir())) == 2
    assert are_equal(wanted, contents(tmp_path))


def test_files_that_differ_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert not are_equal({"a": b"1", "b": b"2", "c": b"3"}, {"b": b"2", "c": b"4", "d": b"5"})
    assert capsys.readouterr().out == "not as undisturbed: a, c, d\n"
