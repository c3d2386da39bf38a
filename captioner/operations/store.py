"""The model store: the folder that TorchServe loads archives from, with the record of versions.

At a restart TorchServe forgets what its management API has changed; the record keeps it.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from captioner.operations.archive import REQUIRED_SETTINGS, Archive
from captioner.operations.record import RecordedVersion, StoreRecord
from captioner.paths import SERVE_COMMAND
from model.files import is_locked, locked, locked_folder, write_whole

log = logging.getLogger("captioner")

MODEL = "captioner"
UNVERSIONED_ARCHIVE, RECORD_FILE = f"{MODEL}.mar", "versions.json"
DEPLOY_LOCK = ".deploying"  # held by a deploy, a rollback or an undeploy
SERVER_LOCK = ".serving"  # held by the server; says which one that is
UNFINISHED_FILE = "unfinished.json"  # the version that a deploy is loading
WORK_FOLDER = ".work"  # files of a deploy, for as long as it runs
START_ANEW = f"start anew: remove {RECORD_FILE}, or {SERVE_COMMAND} --checkpoint CHECKPOINT"


def archive_name(version: str) -> str:
    """Return the file name of a version's archive in a model store."""
    return f"{MODEL}-{version}.mar"


class UnfinishedDeploy(NamedTuple):
    """A deploy that is loading a version, or was loading it when it was killed."""

    version: str
    archive: str | None  # name of the copy that the deploy made; None if it made none


class StoreLock(NamedTuple):
    """The lock that keeps a store for one server, which inherits it."""

    descriptors: tuple[int, ...]  # of the lock file; none if the store cannot be written

    def name_server(self, folder: Path, pid: int) -> None:
        """Write into the lock file which server has the store, for messages to others."""
        for descriptor in self.descriptors:
            os.pwrite(descriptor, json.dumps({"folder": str(folder), "pid": pid}).encode(), 0)


class Store:
    """One model store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.work = folder / WORK_FOLDER

    def archive_path(self, recorded: RecordedVersion) -> Path:
        """Return the path of a version's archive."""
        return self.folder / recorded.archive

    # Locks.

    @contextmanager
    def lock_for_deploy(self) -> Iterator[None]:
        """Keep every other deploy, rollback and undeploy away from the store for the block.

        Raises
        ------
        ValueError
            Another process deploys, or the store does not exist.
        """
        if not self.folder.is_dir():
            raise ValueError(f"{self.folder} is no folder; name the server's with --model-store")
        refusal = f"another deploy or rollback is at work on {self.folder}; wait for its end"
        with locked(self.folder / DEPLOY_LOCK, ValueError(refusal)):
            self._clear_work()  # a deploy that was killed may have left files
            try:
                yield
            finally:
                self._clear_work()

    def _clear_work(self) -> None:
        if self.work.exists():
            shutil.rmtree(self.work)

    @contextmanager
    def lock_for_server(self) -> Iterator[StoreLock]:
        """Keep every other server away, for the block and for the server that is started in it.

        The folder is made if it is missing. A store that cannot be written needs no lock, because
        no server changes it.

        Raises
        ------
        ValueError
            Another server uses the store, or is being started on it.
        """
        if self.folder.exists() and not os.access(self.folder, os.W_OK):
            yield StoreLock(())
            return
        server = self.describe_server() or self._starting_server()
        refusal = ValueError(f"{server}, or choose another with --model-store")
        with locked_folder(self.folder, SERVER_LOCK, refusal) as descriptor:
            os.ftruncate(descriptor, 0)
            if self.work.exists():
                with suppress(ValueError), self.lock_for_deploy():
                    pass  # the lock clears what a killed deploy left; one at work keeps its files
            yield StoreLock((descriptor,))

    def describe_server(self) -> str | None:
        """Return which server uses the store and how to stop it; None if none does."""
        path = self.folder / SERVER_LOCK
        if not is_locked(path):
            return None
        try:
            owner = json.loads(path.read_bytes())
            folder, pid = owner["folder"], int(owner["pid"])
        except (OSError, ValueError, LookupError, TypeError):
            return self._starting_server()
        serves = f"process {pid} serves from {self.folder}"
        if not Path(folder).is_dir():  # in another container, or removed by hand
            return f"{serves}, started from {folder}, which is not here; stop it"
        return f"{serves}; stop it with {SERVE_COMMAND} --stop --folder {folder}"

    def _starting_server(self) -> str:
        return f"another server is being started on {self.folder}; wait for its end"

    def deploy_in_progress(self) -> bool:
        """Return whether a deploy, rollback or undeploy is at work on the store."""
        return is_locked(self.folder / DEPLOY_LOCK)

    # The record.

    def read_record(self) -> StoreRecord | None:
        """Return the versions to serve; None if there are none.

        A store without a record may hold one archive with the name that `UNVERSIONED_ARCHIVE`
        gives; then the record lists that archive.

        Raises
        ------
        ValueError
            The record is damaged, or names an archive that is not in the store.
        """
        record, path = self.written_record(), self.folder / RECORD_FILE
        if record is None:
            if not (self.folder / UNVERSIONED_ARCHIVE).is_file():
                return None
            archive = Archive.open(self.folder / UNVERSIONED_ARCHIVE)
            recorded = RecordedVersion(UNVERSIONED_ARCHIVE, archive.sha256)
            return StoreRecord(archive.version, versions={archive.version: recorded})
        if record.default not in record.versions:
            raise ValueError(f"{path} does not list its default, {record.default}; {START_ANEW}")
        for version, recorded in record.versions.items():
            if not self.archive_path(recorded).is_file():
                raise ValueError(
                    f"{path} lists {recorded.archive}, version {version}, which is not in"
                    f" {self.folder}; put it back, or {START_ANEW}"
                )
        return record

    def written_record(self) -> StoreRecord | None:
        """Return the record as its file has it; None if there is no file.

        Raises
        ------
        ValueError
            The file is damaged.
        """
        path = self.folder / RECORD_FILE
        if not path.exists():
            return None
        try:
            return StoreRecord.from_json(path.read_bytes())
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} is damaged ({error!r}); {START_ANEW}") from error

    def write_record(self, record: StoreRecord) -> None:
        """Replace the record."""
        write_whole(self.folder / RECORD_FILE, record.to_json())

    def listed_version(self, archive: Path) -> tuple[str, str] | None:
        """Return the version that an archive of this store is listed as, and its sha256, if any."""
        record = self.written_record()
        if record is None:
            # Without a record the archive may be replaced while no server uses the store.
            if archive.name != UNVERSIONED_ARCHIVE or not archive.exists():
                return None
            if not self.describe_server():
                return None
            record = self.read_record()
        for version, recorded in record.versions.items() if record else ():
            if recorded.archive == archive.name:
                return version, recorded.sha256
        return None

    def open_archive(self, version: str, recorded: RecordedVersion) -> Archive:
        """Read the archive of a version that the record lists.

        Raises
        ------
        ValueError
            The archive is damaged, or its digest is not the recorded one.
        """
        try:
            return Archive.open(self.archive_path(recorded), recorded.sha256)
        except ValueError as error:
            raise ValueError(
                f"{error}, which {RECORD_FILE} lists as version {version}; put that archive back"
                " (captioner package makes the same bytes of the same checkpoint and code),"
                f" or {START_ANEW}"
            ) from error

    def torchserve_snapshot(self, record: StoreRecord) -> dict[str, Any]:
        """Return the record in TorchServe's own form, which it reads when it starts."""
        models = {}
        for version, recorded in record.versions.items():
            settings = self.open_archive(version, recorded).settings
            workers = recorded.workers
            workers = max(1, settings.get("minWorkers", 1) if workers is None else workers)
            models[version] = {
                "defaultVersion": version == record.default,
                "marName": recorded.archive,
                "minWorkers": workers,
                "maxWorkers": workers,
                **{name: settings[name] for name in REQUIRED_SETTINGS},
            }
        return {"name": RECORD_FILE, "modelCount": len(models), "models": {MODEL: models}}

    # Deploys.

    def begin_deploy(self, new: Archive, workers: int) -> RecordedVersion:
        """Copy an archive into the store, and write down that it is being deployed.

        The note stays until `end_deploy`, so that whoever comes after a deploy that was killed
        knows of it. The record does not list the version yet.

        Raises
        ------
        ValueError
            Another archive has the name that this one is to have.
        """
        recorded = RecordedVersion(archive_name(new.version), new.sha256, workers)
        path = self.archive_path(recorded)
        in_store = path.is_file()
        if in_store and Archive.open(path).sha256 != new.sha256:
            raise ValueError(f"{path} is another archive; move it away, or package another version")
        unfinished = UnfinishedDeploy(new.version, None if in_store else recorded.archive)
        try:
            note = json.dumps(unfinished._asdict()) + "\n"
            write_whole(self.folder / UNFINISHED_FILE, note.encode())
            if not in_store:
                write_whole(path, new.path.read_bytes())
        except BaseException:
            self.end_deploy()
            raise
        return recorded

    def end_deploy(self) -> None:
        """Remove the note of `begin_deploy`, and the archive that it copied if that failed."""
        unfinished = self.unfinished_deploy()
        if unfinished and unfinished.archive:
            (self.folder / unfinished.archive).unlink(missing_ok=True)
        (self.folder / UNFINISHED_FILE).unlink(missing_ok=True)

    def unfinished_deploy(self) -> UnfinishedDeploy | None:
        """Return the deploy that has begun and whose version the record does not list, if any.

        Raises
        ------
        ValueError
            The note of it is damaged.
        """
        path = self.folder / UNFINISHED_FILE
        try:
            values = json.loads(path.read_text())
            version, archive = str(values["version"]), values["archive"]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise ValueError(f"{path} is damaged ({error!r}); remove it") from error
        record = self.written_record()
        if record and version in record.versions:
            return None
        return UnfinishedDeploy(version, Path(archive).name if archive else None)

    def discard_unfinished_deploy(self) -> None:
        """Remove what a deploy that was killed has left; to be called before a server starts."""
        if not self.deploy_in_progress() and (unfinished := self.unfinished_deploy()):
            log.warning(
                "a deploy of version %s was killed; that version is not served", unfinished.version
            )
            self.end_deploy()
