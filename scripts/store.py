"""The folder TorchServe loads archives from, and the record of which version is the default.

TorchServe forgets at a restart what its management API was told; the record does not.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from model.files import write_whole
from scripts.archive import Archive

MODEL = "captioner"
FIRST, RECORD, LOCK = f"{MODEL}.mar", "versions.json", ".deploying"


@dataclass(frozen=True)
class Stored:
    """An archive in the store."""

    archive: str  # file name
    sha256: str


@dataclass(frozen=True)
class Record:
    """The versions that a server starts with."""

    default: str
    previous: str | None = None  # what a rollback goes back to
    versions: dict[str, Stored] = field(default_factory=dict)
    deployed: bool = False  # or packaged anew at every start

    def with_default(self, version: str) -> Record:
        return replace(self, default=version, previous=self.default, deployed=True)

    def with_version(self, version: str, stored: Stored) -> Record:
        return replace(self, versions=self.versions | {version: stored})

    def without(self, version: str) -> Record:
        versions = {name: stored for name, stored in self.versions.items() if name != version}
        previous = None if self.previous == version else self.previous
        return replace(self, versions=versions, previous=previous)


class Store:
    """One model store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, stored: Stored) -> Path:
        return self.folder / stored.archive

    @contextmanager
    def locked(self) -> Iterator[None]:
        """For one process at a time, until the block ends or the process does.

        Raises
        ------
        ValueError
            Another process deploys.
        """
        if not self.folder.is_dir():
            raise ValueError(f"{self.folder} is no folder; name the server's with --model-store")
        with open(self.folder / LOCK, "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ValueError(
                    f"another deploy or rollback is at work on {self.folder}; wait for its end"
                ) from error
            yield

    def read(self) -> Record | None:
        """The record; None if there is nothing to serve.

        Without a record it is the one archive that `captioner package` names so by itself.

        Raises
        ------
        ValueError
            It is damaged, or names an archive that is not there.
        """
        path, first = self.folder / RECORD, self.folder / FIRST
        if not path.exists():
            if not first.is_file():
                return None
            archive = Archive.open(first)
            return Record(
                archive.version, versions={archive.version: Stored(FIRST, archive.sha256)}
            )
        try:
            told = json.loads(path.read_text())
            versions = {name: Stored(**each) for name, each in told["versions"].items()}
            record = Record(told["default"], told["previous"], versions, told["deployed"])
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} is damaged ({error!r}); remove it to start anew") from error
        if record.default not in versions:
            raise ValueError(f"{path} does not list its default, {record.default}")
        for stored in versions.values():
            if not self.path(stored).is_file():
                raise ValueError(f"{path} lists {stored.archive}, which is not in {self.folder}")
        return record

    def write(self, record: Record) -> None:
        told = {
            "default": record.default,
            "previous": record.previous,
            "deployed": record.deployed,
            "versions": {name: vars(stored) for name, stored in record.versions.items()},
        }
        write_whole(self.folder / RECORD, (json.dumps(told, indent=1) + "\n").encode())

    def snapshot(self, record: Record) -> dict[str, Any]:
        """The record as TorchServe reads it at its start, so that it knows the default."""
        models = {}
        for version, stored in record.versions.items():
            settings = Archive.open(self.path(stored), stored.sha256).settings
            models[version] = {
                "defaultVersion": version == record.default,
                "marName": stored.archive,
                **{name: settings[name] for name in _AT_START},
            }
        return {"name": RECORD, "modelCount": len(models), "models": {MODEL: models}}


# Of model-config.yaml, what TorchServe wants to be told again.
_AT_START = ("minWorkers", "maxWorkers", "batchSize", "maxBatchDelay", "responseTimeout")
