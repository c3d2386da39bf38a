"""Programs that find fault with files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path


def has_nothing_to_say(name: str, *arguments: object) -> None:
    """Of a program that pip installed, beside the interpreter or anywhere on the path."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert found is not None, f"{name} is not installed"
    done = subprocess.run([found, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def shellcheck(path: Path) -> None:
    has_nothing_to_say("shellcheck", "--severity=style", path)
