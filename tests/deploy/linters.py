"""Linters of files that are not Python."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path


def assert_no_findings(name: str, *arguments: object) -> None:
    """Run a linter that pip installed, beside the interpreter or anywhere on the path."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert found is not None, f"{name} is not installed"
    done = subprocess.run([found, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def shellcheck(path: Path) -> None:
    assert_no_findings("shellcheck", "--severity=style", path)
