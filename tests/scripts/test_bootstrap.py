from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def bootstrap(folder: Path, python: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [folder / "scripts" / "bootstrap", *words],
        env=os.environ | {"PYTHON": str(python)},
        capture_output=True,
        text=True,
    )


def checkout(folder: Path) -> Path:
    """Return a folder with just the files that bootstrap reads."""
    (folder / "scripts").mkdir(parents=True)
    for name in (
        *("scripts/bootstrap", "requirements.txt", "requirements-dev.txt"),
        *("pyproject.toml", "setup.py"),
    ):
        shutil.copy(ROOT / name, folder / name)
    return folder


def fake_python(folder: Path, body: str) -> Path:
    python = folder / "python"
    python.write_text(f"#!/bin/sh\n{body}\n")
    python.chmod(0o755)
    return python


def recording_python(folder: Path, pip_status: int = 0) -> Path:
    """Return a Python that writes down every ``python -m ...`` in ``calls`` and does not do it.

    Its venv does remove what `--clear` removes, and its pip exits with the given status.
    """
    body = f"""
        if [ "$1" = -m ]; then
            echo "$*" >> "{folder}/calls"
            [ "$2" = venv ] || exit {pip_status}
            rm -rf .venv; mkdir -p .venv/bin; ln -s "{folder}/python" .venv/bin/python; exit 0
        fi
        exec "{sys.executable}" "$@"
    """
    return fake_python(folder, body)


def new_calls(folder: Path) -> list[str]:
    """Return what `recording_python` wrote down since the last call of this function."""
    calls = folder / "calls"
    lines = calls.read_text().splitlines() if calls.exists() else []
    calls.write_text("")
    return lines


def installs(calls: list[str]) -> list[str]:
    """Return the lock files that pip was asked to install, in order."""
    return [line.split("--requirement ")[1] for line in calls if "--requirement" in line]


def test_an_old_python_is_named(tmp_path: Path) -> None:
    folder = checkout(tmp_path / "checkout")
    old = fake_python(tmp_path, "exit 1")
    done = bootstrap(folder, old)
    assert done.returncode == 1
    assert done.stderr.strip() == (
        f"bootstrap: Python 3.11 or newer is needed, found: {old}; install it or set PYTHON"
    )
    assert not (folder / ".venv").exists()


def test_an_unknown_set_is_refused(tmp_path: Path) -> None:
    folder = checkout(tmp_path / "checkout")
    done = bootstrap(folder, recording_python(tmp_path), "server")
    assert done.returncode == 2
    assert "server is unknown; it must be serve or dev" in done.stderr
    assert not new_calls(tmp_path)


@pytest.mark.parametrize(
    ("words", "files"),
    [
        (["serve"], ["requirements.txt"]),
        (["dev"], ["requirements.txt", "requirements-dev.txt"]),
        ([], ["requirements.txt", "requirements-dev.txt"]),
    ],
)
def test_does_nothing_when_nothing_changed(
    tmp_path: Path, words: list[str], files: list[str]
) -> None:
    """A second run with the same files calls neither venv nor pip; a changed lock file does."""
    folder, python = checkout(tmp_path / "checkout"), recording_python(tmp_path)
    assert bootstrap(folder, python, *words).returncode == 0
    calls = new_calls(tmp_path)
    assert calls[0] == "-m venv --clear .venv"
    assert installs(calls) == files
    assert bootstrap(folder, python, *words).returncode == 0
    assert not new_calls(tmp_path)
    with open(folder / "requirements.txt", "a") as lock:
        lock.write("# changed\n")
    assert bootstrap(folder, python, *words).returncode == 0
    assert installs(new_calls(tmp_path)) == files


def test_dev_adds_to_serve_and_serve_keeps_dev(tmp_path: Path) -> None:
    folder, python = checkout(tmp_path / "checkout"), recording_python(tmp_path)
    assert bootstrap(folder, python, "serve").returncode == 0
    new_calls(tmp_path)
    assert bootstrap(folder, python, "dev").returncode == 0
    calls = new_calls(tmp_path)
    assert installs(calls) == ["requirements-dev.txt"]
    assert not any("venv" in line for line in calls)
    assert bootstrap(folder, python, "serve").returncode == 0
    assert not new_calls(tmp_path)
    with open(folder / "requirements-dev.txt", "a") as lock:
        lock.write("# changed\n")
    assert bootstrap(folder, python, "serve").returncode == 0
    assert not new_calls(tmp_path)
    assert bootstrap(folder, python, "dev").returncode == 0
    assert installs(new_calls(tmp_path)) == ["requirements-dev.txt"]
    with open(folder / "requirements.txt", "a") as lock:
        lock.write("# changed\n")
    assert bootstrap(folder, python, "serve").returncode == 0
    assert installs(new_calls(tmp_path)) == ["requirements.txt", "requirements-dev.txt"]


def test_a_failed_install_says_what_it_needs_and_is_begun_anew(tmp_path: Path) -> None:
    folder = checkout(tmp_path / "checkout")
    done = bootstrap(folder, recording_python(tmp_path, pip_status=1))
    assert done.returncode == 1
    assert "pip failed, see above" in done.stderr
    assert "Avail" in done.stderr
    assert bootstrap(folder, recording_python(tmp_path)).returncode == 0
    venvs = [line for line in new_calls(tmp_path) if "venv" in line]
    assert venvs == ["-m venv --clear .venv"] * 2


def test_another_torch_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = checkout(tmp_path / "checkout")
    monkeypatch.setenv("TORCH_INDEX_URL", "https://index.example/cu130")
    assert bootstrap(folder, recording_python(tmp_path)).returncode == 0
    lines = new_calls(tmp_path)
    (torch,) = (line for line in lines if "--index-url https://index.example/cu130" in line)
    assert "torch==2.14.1" in torch
    assert "torchvision==0.29.1" in torch
    assert lines.index(torch) < next(i for i, line in enumerate(lines) if "--requirement" in line)


@pytest.mark.parametrize(
    ("gpu", "index", "advised"),
    [(False, "", True), (True, "", False), (False, "https://index.example/cpu", False)],
)
def test_a_smaller_torch_is_advised_once_where_there_is_no_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpu: bool, index: str, advised: bool
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("sh", "cat", "dirname", "grep", "rm", "mkdir", "ln"):
        (programs / name).symlink_to(shutil.which(name) or "")
    fake_python(programs, "echo Linux").rename(programs / "uname")
    if gpu:
        fake_python(programs, "").rename(programs / "nvidia-smi")
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setenv("TORCH_INDEX_URL", index)
    folder, python = checkout(tmp_path / "checkout"), recording_python(tmp_path)
    first, second = bootstrap(folder, python, "serve"), bootstrap(folder, python, "dev")
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    hint = "set TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu"
    assert (hint in first.stderr) == advised
    assert hint not in second.stderr
