"""The folder TorchServe loads archives from, and the record of which version is the default.

TorchServe forgets at a restart what its management API was told; the record does not.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from captioner.operations.archive import AT_START, Archive
from captioner.operations.locks import is_locked, locked, locked_folder
from model.files import write_whole

log = logging.getLogger("captioner")

MODEL = "captioner"
FIRST, RECORD = f"{MODEL}.mar", "versions.json"
LOCK, SERVING = ".deploying", ".serving"  # held by a deploy or rollback, and by a server
UNFINISHED = "unfinished.json"  # the version that a deploy is loading, or was when it was killed
WORK = ".work"  # what a deploy needs while it lasts


def archive_name(version: str) -> str:
    """The file name of a version's archive in a model store."""
    return f"{MODEL}-{version}.mar"


@dataclass(frozen=True)
class Stored:
    """An archive in the store."""

    archive: str  # file name
    sha256: str
    workers: int | None = None  # that its operator wants; None leaves it to the archive, or one


class Unfinished(NamedTuple):
    """A version that a deploy is loading, or was loading when it was killed."""

    version: str
    archive: str | None  # file name of the copy that the deploy made


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

    def with_workers(self, version: str, workers: int) -> Record:
        stored = replace(self.versions[version], workers=workers)
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

    def busy(self) -> bool:
        """Whether a process has it locked."""
        return is_locked(self.folder / LOCK)

    def begin(self, new: Archive, workers: int) -> Stored:
        """Copy an archive to where the server loads from, to be loaded before it is recorded.

        Until `finish` the store says so, should this process be killed.

        Raises
        ------
        ValueError
            Another archive lies there by the name that this one is to have.
        """
        stored = Stored(archive_name(new.version), new.sha256, workers)
        path = self.path(stored)
        there = path.is_file()
        if there and Archive.open(path).sha256 != new.sha256:
            raise ValueError(f"{path} is another archive; move it away, or package another version")
        told = {"version": new.version, "archive": None if there else stored.archive}
        try:
            write_whole(self.folder / UNFINISHED, (json.dumps(told) + "\n").encode())
            if not there:
                write_whole(path, new.path.read_bytes())
        except BaseException:
            self.finish()
            raise
        return stored

    def finish(self) -> None:
        """Take back what `begin` says; an archive that it copied goes, unless it is recorded."""
        unfinished = self.unfinished()
        if unfinished and unfinished.archive:
            (self.folder / unfinished.archive).unlink(missing_ok=True)
        (self.folder / UNFINISHED).unlink(missing_ok=True)

    def unfinished(self) -> Unfinished | None:
        """The version that `begin` says is being loaded, if the record does not list it."""
        path = self.folder / UNFINISHED
        try:
            told = json.loads(path.read_text())
            version, archive = str(told["version"]), told["archive"]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise ValueError(f"{path} is damaged ({error!r}); remove it") from error
        record = self.recorded()
        if record and version in record.versions:
            return None
        return Unfinished(version, Path(archive).name if archive else None)

    def clear_unfinished(self) -> None:
        """Before a server starts, remove what a deploy that was killed has left in the store."""
        if not self.busy() and (unfinished := self.unfinished()):
            log.warning("a deploy of version %s was killed; it is not served", unfinished.version)
            self.finish()

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
            workers = settings.get("minWorkers", 1) if stored.workers is None else stored.workers
            models[version] = {
                "defaultVersion": version == record.default,
                "marName": stored.archive,
                "minWorkers": max(1, workers),
                "maxWorkers": max(1, workers),
                **{name: settings[name] for name in AT_START},
            }
        return {"name": RECORD, "modelCount": len(models), "models": {MODEL: models}}


_ANEW = f"start anew: remove {RECORD}, or scripts/serve --checkpoint CHECKPOINT"
