"""Archives with files of a test's own."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import yaml

HANDLER, SHIPPED_HANDLER = "captioner_handler.py", "shipped_handler.py"


def with_files(source: Path, target: Path, files: dict[str, bytes]) -> Path:
    """Copy an archive, with files added to it or in place of its own."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            if name not in files:
                new.writestr(name, old.read(name))
        for name, content in files.items():
            new.writestr(name, content)
    return target


def with_handler(
    source: Path, target: Path, code: str, files: dict[str, bytes] | None = None
) -> Path:
    """Copy an archive, with another handler, which can import the shipped one beside it."""
    with zipfile.ZipFile(source) as archive:
        shipped = archive.read(HANDLER)
    return with_files(
        source, target, {SHIPPED_HANDLER: shipped, HANDLER: code.encode()} | (files or {})
    )


def with_config(source: Path, target: Path, **settings: object) -> Path:
    """Copy an archive, with other settings in its model-config.yaml."""
    with zipfile.ZipFile(source) as archive:
        config = yaml.safe_load(archive.read("model-config.yaml"))
    content = yaml.safe_dump(config | settings).encode()
    return with_files(source, target, {"model-config.yaml": content})


def with_wrong_caption(source: Path, target: Path) -> Path:
    """Copy an archive, with a golden photo whose caption is not the checkpoint's."""
    with zipfile.ZipFile(source) as archive:
        golden = json.loads(archive.read("golden.json"))
    golden[0]["caption"] += " indeed"
    return with_files(source, target, {"golden.json": json.dumps(golden).encode()})
