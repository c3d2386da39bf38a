"""The folder TorchServe loads archives from, and the record of which version is the default.

TorchServe forgets at a restart what its management API was told; the record does not.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from model.files import write_whole
from scripts.archive import Archive
from scripts.locks import is_locked, locked, locked_folder

MODEL = "captioner"
FIRST, RECORD = f"{MODEL}.mar", "versions.json"
LOCK, SERVING = ".deploying", ".serving"  # held by a deploy or rollback, and by a server
WORK = ".work"  # what a deploy needs while it lasts


def archive_name(version: str) -> str:
    """The file name of a version's archive in a model store."""
    return f"{MODEL}-{version}.mar"


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
    checkpoint: str | None = None  # the folder that it is then packaged from, if that is known

    def with_default(self, version: str) -> Record:
        return replace(self, default=version, previous=self.default, deployed=True, checkpoint=None)

    def with_version(self, version: str, stored: Stored) -> Record:
        return replace(self, versions=self.versions | {version: stored})

    def without(self, version: str) -> Record:
        versions = {name: stored for name, stored in self.versions.items() if name != version}
        previous = None if self.previous == version else self.previous
        return replace(self, versions=versions, previous=previous)


class Reservation(NamedTuple):
    """A store that is kept for one server."""

    descriptors: tuple[int, ...]  # that the server inherits, to hold the lock as long as it runs

    def name_server(self, folder: Path, pid: int) -> None:
        """Write down whose the store is now, for whoever is refused."""
        for descriptor in self.descriptors:
            os.pwrite(descriptor, json.dumps({"folder": str(folder), "pid": pid}).encode(), 0)


class Store:
    """One model store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.work = folder / WORK

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
        refusal = f"another deploy or rollback is at work on {self.folder}; wait for its end"
        with locked(self.folder / LOCK, refusal):
            self._clear_work()  # of one that was killed
            try:
                yield
            finally:
                self._clear_work()

    def _clear_work(self) -> None:
        if self.work.exists():
            shutil.rmtree(self.work)

    @contextmanager
    def reserved(self) -> Iterator[Reservation]:
        """Keep every other server away, for the block and for the server that is started in it.

        The folder is made if it is missing. A store that cannot be written needs no lock: no server
        changes it.

        Raises
        ------
        ValueError
            Another server stands on the store, or is being started.
        """
        if self.folder.exists() and not os.access(self.folder, os.W_OK):
            yield Reservation(())
            return
        refusal = f"{self.server() or self._starting()}, or choose another with --model-store"
        with locked_folder(self.folder, SERVING, refusal) as descriptor:
            os.ftruncate(descriptor, 0)
            if self.work.exists():
                with suppress(ValueError), self.locked():  # which clears it
                    pass
            yield Reservation((descriptor,))

    def server(self) -> str | None:
        """Say which server stands on the store and how to stop it; None if there is none."""
        path = self.folder / SERVING
        if not is_locked(path):
            return None
        try:
            told = json.loads(path.read_bytes())
            folder, pid = told["folder"], int(told["pid"])
        except (OSError, ValueError, LookupError, TypeError):
            return self._starting()
        serves = f"process {pid} serves from {self.folder}"
        if not Path(folder).is_dir():  # in another container, or removed by hand
            return f"{serves}, started from {folder}, which is not here; stop it"
        return f"{serves}; stop it with scripts/serve --stop --folder {folder}"

    def _starting(self) -> str:
        return f"another server is being started on {self.folder}; wait for its end"

    def listed(self, archive: Path) -> tuple[str, str] | None:
        """The version that an archive of this store is recorded or served as, and its sha256."""
        record = self.recorded()
        if record is None:
            # Without a record it may be replaced while no server stands on it.
            if archive.name != FIRST or not archive.exists() or not self.server():
                return None
            record = self.read()
        for version, stored in record.versions.items() if record else ():
            if stored.archive == archive.name:
                return version, stored.sha256
        return None

    def read(self) -> Record | None:
        """The record; None if there is nothing to serve.

        Without a record it is the one archive that `captioner package` names so by itself.

        Raises
        ------
        ValueError
            It is damaged, or names an archive that is not there.
        """
        record, path = self.recorded(), self.folder / RECORD
        if record is None:
            if not (self.folder / FIRST).is_file():
                return None
            archive = Archive.open(self.folder / FIRST)
            return Record(
                archive.version, versions={archive.version: Stored(FIRST, archive.sha256)}
            )
        if record.default not in record.versions:
            raise ValueError(f"{path} does not list its default, {record.default}; {_ANEW}")
        for version, stored in record.versions.items():
            if not self.path(stored).is_file():
                raise ValueError(
                    f"{path} lists {stored.archive}, version {version}, which is not in"
                    f" {self.folder}; put it back, or {_ANEW}"
                )
        return record

    def recorded(self) -> Record | None:
        """The record as it is written down; raises `ValueError` if it is damaged."""
        path = self.folder / RECORD
        if not path.exists():
            return None
        try:
            told = json.loads(path.read_text())
            versions = {name: Stored(**each) for name, each in told["versions"].items()}
            return Record(
                told["default"],
                told["previous"],
                versions,
                told["deployed"],
                told.get("checkpoint"),  # older records lack it
            )
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} is damaged ({error!r}); {_ANEW}") from error

    def open(self, version: str, stored: Stored) -> Archive:
        """Read the archive of a version that the record lists.

        Raises
        ------
        ValueError
            It is damaged, or not the one that was recorded.
        """
        try:
            return Archive.open(self.path(stored), stored.sha256)
        except ValueError as error:
            raise ValueError(
                f"{error}, which {RECORD} lists as version {version}; put that archive back"
                " (captioner package makes the same bytes of the same checkpoint and code),"
                f" or {_ANEW}"
            ) from error

    def write(self, record: Record) -> None:
        told = {
            "default": record.default,
            "previous": record.previous,
            "deployed": record.deployed,
            "checkpoint": record.checkpoint,
            "versions": {name: vars(stored) for name, stored in record.versions.items()},
        }
        write_whole(self.folder / RECORD, (json.dumps(told, indent=1) + "\n").encode())

    def snapshot(self, record: Record) -> dict[str, Any]:
        """The record as TorchServe reads it at its start, so that it knows the default."""
        models = {}
        for version, stored in record.versions.items():
            settings = self.open(version, stored).settings
            models[version] = {
                "defaultVersion": version == record.default,
                "marName": stored.archive,
                **{name: settings[name] for name in _AT_START},
            }
        return {"name": RECORD, "modelCount": len(models), "models": {MODEL: models}}


_ANEW = f"start anew: remove {RECORD}, or scripts/serve --checkpoint CHECKPOINT"

# Of model-config.yaml, what TorchServe wants to be told again.
_AT_START = ("minWorkers", "maxWorkers", "batchSize", "maxBatchDelay", "responseTimeout")
