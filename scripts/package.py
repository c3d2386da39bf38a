"""Checkpoint folder -> TorchServe archive, byte for byte the same for the same content."""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from pathlib import Path

import yaml

from model import DecodingOptions, checkpoint
from model.calibration import CALIBRATION
from model.files import write_whole
from scripts.archive import GOLDEN, MANIFEST, MODEL_CONFIG
from scripts.golden import golden
from scripts.places import ROOT

HANDLER = "captioner_handler.py"
LEFT_OUT = (HANDLER, "client.py")  # of the packages: lies outside them, is for callers
EPOCH = (1980, 1, 1, 0, 0, 0)  # zip's earliest date: the content alone decides the bytes


def package(folder: Path, version: str, out: Path) -> str:
    """Write the archive of a checkpoint, replacing one that is there, and return its sha256.

    Parameters
    ----------
    folder
        A checkpoint folder; it is loaded once, to be sure that it can be.
    version
        What TorchServe knows it by, as in ``/predictions/captioner/1.0``.
    out
        The ``.mar`` file; its name without the ending is the model's name.

    Raises
    ------
    ValueError
        The checkpoint or its calibration is damaged, or the version or the name is none.
    """
    if not re.fullmatch(r"\d+(\.\d+){0,2}", version):
        raise ValueError(f"version is {version!r}; it must be like 1, 1.0 or 1.0.2")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*\.mar", out.name):
        raise ValueError(f"the archive is {out.name!r}; it must be like captioner.mar")
    settings = yaml.safe_load((ROOT / "handler" / MODEL_CONFIG).read_text())
    decoding = DecodingOptions(**settings["handler"]["decoding"])
    manifest = {
        "runtime": "python",
        "model": {
            "modelName": out.stem,
            "modelVersion": version,
            "handler": HANDLER,
            "configFile": MODEL_CONFIG,
        },
        "archiverVersion": "0.12.0",
    }
    members = {GOLDEN: golden(folder, decoding)}
    members[MANIFEST] = (json.dumps(manifest, indent=2) + "\n").encode()
    parts = (checkpoint.WEIGHTS, checkpoint.CONFIG, checkpoint.WORD_MAP, checkpoint.CARD)
    for name in (*parts, CALIBRATION):
        if (folder / name).is_file():
            members[name] = (folder / name).read_bytes()
    for name in (HANDLER, MODEL_CONFIG):
        members[name] = (ROOT / "handler" / name).read_bytes()
    for name in ("model", "handler"):
        for source in (ROOT / name).glob("*.py"):
            if source.name not in LEFT_OUT:
                members[f"{name}/{source.name}"] = source.read_bytes()
    archive = _archive(members)
    write_whole(out, archive)
    return hashlib.sha256(archive).hexdigest()


def _archive(members: dict[str, bytes]) -> bytes:
    """Store, not deflate: weights do not shrink, and TorchServe unpacks while it answers others."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(members):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, members[name])
    return buffer.getvalue()
