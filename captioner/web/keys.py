"""The key that callers send, in a file like the one that TorchServe writes."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path

from captioner.operations.keys import Keys


def open_key_file(path: Path) -> str:
    """Return the inference key of a key file, which is made if it is missing.

    Raises
    ------
    ValueError
        The file lacks the keys, or others than its owner can read it.
    """
    if not path.exists():
        _write_new(path)
    if path.stat().st_mode & 0o077:
        raise ValueError(f"others can read {path}; make it yours alone: chmod 600 {path}")
    return Keys.read(path).inference


def _write_new(path: Path) -> None:
    """Write a file with new keys in TorchServe's form, readable by its owner alone."""
    content = {api: {"key": secrets.token_urlsafe(24)} for api in ("management", "inference")}
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(content, file)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}; choose another --key-file") from error
