from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def bootstrap(folder: Path, python: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHON": str(python)}
    return subprocess.run(
        [folder / "scripts" / "bootstrap"], env=environment, capture_output=True, text=True
    )


def checkout(folder: Path) -> Path:
    """Just what bootstrap reads."""
    (folder / "scripts").mkdir(parents=True)
    for name in ("scripts/bootstrap", "requirements.txt", "requirements-dev.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def fake_python(folder: Path, body: str) -> Path:
    python = folder / "python"
    python.write_text(f"#!/bin/sh\n{body}\n")
    python.chmod(0o755)
    return python


def recording_python(folder: Path, of_pip: int = 0) -> Path:
    """Writes every ``python -m ...`` to ``calls`` instead of doing it; pip exits with `of_pip`."""
    record = (
        f'echo "$*" >> "{folder}/calls"; mkdir -p .venv/bin;'
        f' ln -sf "{folder}/python" .venv/bin/python; [ "$2" = venv ] || exit {of_pip}; exit 0'
    )
    return fake_python(
        folder, f'if [ "$1" = -m ]; then {record}; fi\nexec "{shutil.which("python3")}" "$@"'
    )


def test_an_old_python_is_named(tmp_path: Path) -> None:
    folder = checkout(tmp_path / "checkout")
    old = fake_python(tmp_path, "exit 1")
    done = bootstrap(folder, old)
    assert done.returncode == 1
    assert done.stderr.strip() == (
        f"bootstrap: Python 3.11 or newer is needed, found: {old}; install it or set PYTHON"
    )
    assert not (folder / ".venv").exists()


def test_does_nothing_when_nothing_changed(tmp_path: Path) -> None:
    """A second run with the same files never calls venv or pip; a changed lock file does."""
    folder = checkout(tmp_path / "checkout")
    python = recording_python(tmp_path)
    calls = tmp_path / "calls"
    assert bootstrap(folder, python).returncode == 0
    first = calls.read_text().splitlines()
    assert first[0] == "-m venv --clear .venv"
    assert any("--requirement requirements-dev.txt" in line for line in first)
    assert bootstrap(folder, python).returncode == 0
    assert calls.read_text().splitlines() == first
    with open(folder / "requirements.txt", "a") as lock:
        lock.write("# changed\n")
    assert bootstrap(folder, python).returncode == 0
    assert len(calls.read_text().splitlines()) > len(first)


def test_a_failed_install_says_what_it_needs_and_is_begun_anew(tmp_path: Path) -> None:
    folder = checkout(tmp_path / "checkout")
    done = bootstrap(folder, recording_python(tmp_path, of_pip=1))
    assert done.returncode == 1
    assert "pip failed, see above" in done.stderr
    assert "Avail" in done.stderr
    assert bootstrap(folder, recording_python(tmp_path)).returncode == 0
    venvs = [line for line in (tmp_path / "calls").read_text().splitlines() if "venv" in line]
    assert venvs == ["-m venv --clear .venv"] * 2


def test_another_torch_index(tmp_path: Path, monkeypatch) -> None:
    folder = checkout(tmp_path / "checkout")
    python = recording_python(tmp_path)
    monkeypatch.setenv("TORCH_INDEX_URL", "https://index.example/cu130")
    assert bootstrap(folder, python).returncode == 0
    lines = (tmp_path / "calls").read_text().splitlines()
    (torch,) = (line for line in lines if "--index-url https://index.example/cu130" in line)
    assert "torch==2.14.1" in torch
    assert "torchvision==0.29.1" in torch
    assert lines.index(torch) < next(i for i, line in enumerate(lines) if "--requirement" in line)
