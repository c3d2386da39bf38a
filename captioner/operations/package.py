"""Checkpoint folder -> TorchServe archive, byte for byte the same for the same content."""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from contextlib import nullcontext
from pathlib import Path

import yaml

from captioner.operations.archive import GOLDEN, MANIFEST, MODEL_CONFIG
from captioner.operations.golden import golden_json
from captioner.operations.store import MODEL, RECORD_FILE, Store
from captioner.paths import PACKAGES
from model import DecodingOptions, checkpoint
from model.calibration import CALIBRATION
from model.files import check_new, write_whole

HANDLER = "captioner_handler.py"
VERSION = r"\d+(\.\d+){0,2}"
EPOCH = (1980, 1, 1, 0, 0, 0)  # zip's earliest date: the content alone decides the bytes


def package(folder: Path, version: str, out: Path, overwrite: bool = False) -> str:
    """Write the archive of a checkpoint and return its sha256.

    Parameters
    ----------
    folder
        A checkpoint folder; it is loaded once, to be sure that it can be.
    version
        What TorchServe knows it by, as in ``/predictions/captioner/1.0``.
    out
        The ``.mar`` file; its name without the ending, and without ``-VERSION``, is the model's
        name.
    overwrite
        Whether another file that is there is replaced; an archive that a model store lists as a
        version never is.

    Raises
    ------
    ValueError
        The checkpoint or its calibration is damaged, the version or the name is none, or another
        file has the name.
    """
    _check_version(version)
    name = out.stem.removesuffix(f"-{version}")
    if out.suffix != ".mar" or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise ValueError(
            f"the archive is {out.name!r}; it must be like {MODEL}.mar or {MODEL}-{version}.mar"
        )
    content = build(folder, version, name)
    digest = hashlib.sha256(content).hexdigest()
    if not out.exists():
        _check_replaceable(out, digest, overwrite=True)
        write_whole(out, content)
    elif not out.is_file() or out.read_bytes() != content:
        store = Store(out.parent)
        # A deploy may be about to record it.
        with store.lock_for_deploy() if (store.folder / RECORD_FILE).exists() else nullcontext():
            _check_replaceable(out, digest, overwrite)
            write_whole(out, content)
    return digest


def _check_replaceable(out: Path, digest: str, overwrite: bool) -> None:
    listed = Store(out.parent).listed_version(out)
    if listed is None:
        check_new(out, overwrite)
    elif listed[1] != digest:  # what is recorded may be put back
        raise ValueError(
            f"{out} is version {listed[0]}, which is served or listed in {RECORD_FILE}; it is never"
            " replaced: package another --version, or write elsewhere with --out"
        )


def _check_version(version: str) -> None:
    if not re.fullmatch(VERSION, version):
        raise ValueError(f"version is {version!r}; it must be like 1, 1.0 or 1.0.2")


def build(folder: Path, version: str, model: str = MODEL) -> bytes:
    """Return the archive of a checkpoint; raises `ValueError` as `package` does."""
    _check_version(version)
    settings = yaml.safe_load((PACKAGES / "handler" / MODEL_CONFIG).read_text())
    decoding = DecodingOptions(**settings["handler"]["decoding"])
    manifest = {
        "runtime": "python",
        "model": {
            "modelName": model,
            "modelVersion": version,
            "handler": HANDLER,
            "configFile": MODEL_CONFIG,
        },
        "archiverVersion": "0.12.0",
    }
    members = {GOLDEN: golden_json(folder, decoding)}
    members[MANIFEST] = (json.dumps(manifest, indent=2) + "\n").encode()
    parts = (checkpoint.WEIGHTS, checkpoint.CONFIG, checkpoint.WORD_MAP, checkpoint.CARD)
    for name in (*parts, CALIBRATION):
        if (folder / name).is_file():
            members[name] = (folder / name).read_bytes()
    for name in (HANDLER, MODEL_CONFIG):
        members[name] = (PACKAGES / "handler" / name).read_bytes()
    for name in ("model", "handler"):
        for source in (PACKAGES / name).rglob("*.py"):
            if source.name != HANDLER:  # which lies outside the packages
                members[source.relative_to(PACKAGES).as_posix()] = source.read_bytes()
    return _archive(members)


def _archive(members: dict[str, bytes]) -> bytes:
    """Store, not deflate: weights do not shrink, and TorchServe unpacks while it answers others."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(members):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, members[name])
    return buffer.getvalue()
