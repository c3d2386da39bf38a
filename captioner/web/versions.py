"""The version of a captioner that is served, from a checkpoint folder or an archive."""

from __future__ import annotations

import os
import re
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from captioner.operations.archive import CHECKPOINT, MODEL_CONFIG, VERSION, Archive
from captioner.paths import PACKAGES

FIRST_VERSION = "1.0"


@dataclass(frozen=True)
class ServedVersion:
    """A checkpoint folder, the version that it is served as, and its model-config.yaml."""

    version: str
    folder: Path
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """The bytes of the checkpoint."""
        return sum(file.st_size for file in self._files())

    @property
    def modified(self) -> datetime:
        """When the checkpoint was last changed."""
        newest = max((file.st_mtime for file in self._files()), default=0.0)
        return datetime.fromtimestamp(newest, UTC)

    def _files(self) -> list[os.stat_result]:
        paths = (self.folder / name for name in CHECKPOINT)
        return [path.stat() for path in paths if path.is_file()]


@contextmanager
def open_version(path: Path, version: str | None = None) -> Iterator[ServedVersion]:
    """Make a checkpoint folder or an archive ready to be served, for the block.

    A folder is served as its own model-config.yaml says, if it has one. The checkpoint of an
    archive is unpacked into a temporary folder. Its code is not used: this installation's is.

    Parameters
    ----------
    path
        A checkpoint folder, or a ``.mar`` file of ``captioner package``.
    version
        The version of a checkpoint folder; None is 1.0. An archive has its own.

    Raises
    ------
    ValueError
        There is no checkpoint or archive of that name, it is damaged, or the version is not one.
    """
    if version is not None and not re.fullmatch(VERSION, version):
        raise ValueError(f"version is {version!r}; it must be like 1, 1.0 or 1.0.2")
    if path.suffix == ".mar":
        with _unpacked(Archive.open(path), version) as served:
            yield served
        return
    if missing := [name for name in CHECKPOINT if not (path / name).is_file()]:
        raise ValueError(
            f"{path} is no checkpoint, it lacks {', '.join(missing)}; name a checkpoint folder or"
            " an archive of captioner package"
        )
    own = path / MODEL_CONFIG
    shared = PACKAGES / "handler" / MODEL_CONFIG
    settings = yaml.safe_load((own if own.is_file() else shared).read_text())
    yield ServedVersion(version or FIRST_VERSION, path, settings)


@contextmanager
def _unpacked(archive: Archive, version: str | None) -> Iterator[ServedVersion]:
    if version not in (None, archive.version):
        raise ValueError(f"{archive.path} is version {archive.version}, not {version}")
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="captioner-web-"))
            _unpack(archive.path, folder)
        except OSError as error:
            raise ValueError(
                f"the checkpoint in {archive.path} cannot be unpacked into"
                f" {tempfile.gettempdir()} ({error.strerror}); make room there, or name another"
                " folder by the environment variable TMPDIR"
            ) from error
        yield ServedVersion(archive.version, Path(folder), archive.settings)


def _unpack(archive: Path, folder: str) -> None:
    with zipfile.ZipFile(archive) as file:
        for name in file.namelist():
            if "/" not in name and not name.endswith(".py"):  # no code, no metadata
                file.extract(name, folder)
