"""Makes the TorchServe archive of a checkpoint folder; the same content gives the same bytes.

The archive is made by torch-model-archiver in a private folder. It writes the time and the order of
the file system into what it makes, so the result is then written once more without them.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import tempfile
import zipfile
from contextlib import nullcontext
from pathlib import Path

import yaml
from model_archiver import ModelArchiverConfig
from model_archiver.model_packaging_utils import ModelExportUtils

from captioner.operations.archive import GOLDEN, MANIFEST, MODEL_CONFIG, VERSION
from captioner.operations.golden import golden_json
from captioner.operations.store import MODEL, RECORD_FILE, Store
from captioner.paths import PACKAGES
from model import DecodingOptions, checkpoint
from model.calibration import CALIBRATION
from model.files import check_new, write_whole

HANDLER = "captioner_handler.py"
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date of a zip file, for every file of an archive
CREATED_ON = "01/01/1980 00:00:00"  # the same, in the form of the archiver's manifest


def package(folder: Path, version: str, out: Path, overwrite: bool = False) -> str:
    """Write the archive of a checkpoint and return its sha256.

    Parameters
    ----------
    folder
        The checkpoint folder. It is loaded once, so that a damaged one is found here.
    version
        The version under which TorchServe serves it, as in ``/predictions/captioner/1.0``.
    out
        The ``.mar`` file to write. The model is named after it: the file's name without ``.mar``
        and without ``-VERSION``.
    overwrite
        Whether to replace a file that is there and has another content. An archive that a model
        store lists as a version is never replaced.

    Raises
    ------
    ValueError
        The checkpoint or its calibration is damaged, the version or the file's name is not a valid
        one, or there is another file of that name.
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
        # A deploy that runs at this moment may be about to list the file as a version.
        with store.lock_for_deploy() if (store.folder / RECORD_FILE).exists() else nullcontext():
            _check_replaceable(out, digest, overwrite)
            write_whole(out, content)
    return digest


def _check_replaceable(out: Path, digest: str, overwrite: bool) -> None:
    """Raise `ValueError` if a file that is there must not be replaced by one of that sha256."""
    listed = Store(out.parent).listed_version(out)
    if listed is None:
        check_new(out, overwrite)
    elif listed[1] != digest:  # the very bytes that are listed may be written again
        raise ValueError(
            f"{out} is version {listed[0]}, which is served or listed in {RECORD_FILE}; it is never"
            " replaced: package another --version, or write elsewhere with --out"
        )


def _check_version(version: str) -> None:
    if not re.fullmatch(VERSION, version):
        raise ValueError(f"version is {version!r}; it must be like 1, 1.0 or 1.0.2")


def build(folder: Path, version: str, model: str = MODEL) -> bytes:
    """Return the content of a checkpoint's archive; raises `ValueError` as `package` does."""
    _check_version(version)
    with tempfile.TemporaryDirectory(prefix="captioner-package-") as work:
        staged = Path(work, "staged")
        staged.mkdir()
        _stage(folder, staged)
        return _normalised(_archive(staged, version, model))


def _stage(folder: Path, staged: Path) -> None:
    """Copy everything that an archive holds into a folder, laid out as it is in the archive."""
    handler = PACKAGES / "handler"
    settings = yaml.safe_load((handler / MODEL_CONFIG).read_text())
    decoding = DecodingOptions(**settings["handler"]["decoding"])
    (staged / GOLDEN).write_bytes(golden_json(folder, decoding))  # loads the checkpoint
    parts = (checkpoint.WEIGHTS, checkpoint.CONFIG, checkpoint.WORD_MAP, checkpoint.CARD)
    for name in (*parts, CALIBRATION):
        if (folder / name).is_file():
            shutil.copyfile(folder / name, staged / name)
    # TorchServe imports the handler's module from the archive's root, not from a package.
    for name in (HANDLER, MODEL_CONFIG):
        shutil.copyfile(handler / name, staged / name)
    for package_folder in (PACKAGES / "model", handler):
        for source in package_folder.rglob("*.py"):
            if source != handler / HANDLER:
                copy = staged / source.relative_to(PACKAGES)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, copy)


def _archive(staged: Path, version: str, model: str) -> Path:
    """Let the archiver make the archive of a staged folder, beside it, and return its path.

    `ModelArchiver.generate_model_archive` would do these two steps and one before them, which
    flattens folders and first deletes any folder that has the model's name in the system's
    temporary folder: two packagings at a time would destroy each other's files.
    """
    config = ModelArchiverConfig(
        model_name=model,
        version=version,
        handler=HANDLER,
        config_file=MODEL_CONFIG,
        export_path=str(staged.parent),
        # Weights do not shrink, and TorchServe unpacks archives while it answers requests.
        archive_format="zip-store",
    )
    manifest = ModelExportUtils.generate_manifest_json(config)
    ModelExportUtils.archive(
        config.export_path, model, str(staged), manifest, config.archive_format
    )
    return staged.parent / f"{model}.mar"


def _normalised(archive: Path) -> bytes:
    """Return an archive's content with sorted entries, one date and one file mode."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(archive) as made,
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as normalised,
    ):
        for name in sorted(made.namelist()):
            content = made.read(name)
            if name == MANIFEST:
                manifest = json.loads(content) | {"createdOn": CREATED_ON}
                content = (json.dumps(manifest, indent=2) + "\n").encode()
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.external_attr = 0o644 << 16
            normalised.writestr(entry, content)
    return buffer.getvalue()
