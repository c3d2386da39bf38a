"""Bring the record of a model store in line with what the server serves.

Whoever calls TorchServe's management API changes what is served, and the record does not know of
it. The server is right, because its answers are what callers get.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from captioner.operations.archive import Archive
from captioner.operations.management import Management, ServedVersion
from captioner.operations.record import RecordedVersion, StoreRecord
from captioner.operations.store import MODEL, Store
from captioner.paths import SERVE_COMMAND

log = logging.getLogger("captioner")


def reconcile_record(store: Store, management: Management) -> StoreRecord:
    """Write down what is served now, log each change, and return the record.

    Recorded versions that are not served any more are dropped, versions that others registered from
    the store are added, and the default and the numbers of workers become those of the server. A
    version that a killed deploy was loading is left out, unless it is the default.

    Raises
    ------
    ValueError
        The server has no captioner, or its default version is not in this store.
    """
    before = store.read_record()
    served = {each.version: each for each in management.versions()}
    if not served:
        raise ValueError(
            f"{management.url} serves no {MODEL}; {SERVE_COMMAND} --stop, then"
            f" {SERVE_COMMAND} --detach"
            " starts what was served before"
        )
    default = management.default_version().version
    known = before or StoreRecord(default)
    changes: list[str] = []
    versions = _current_versions(store, known, served, default, changes)
    previous = known.previous
    if default != known.default:
        previous = known.default
        changes.append(f"the default is version {default} now, no longer {known.default}")
    record = replace(
        known,
        default=default,
        previous=previous if previous in versions and previous != default else None,
        versions=versions,
        deployed=known.deployed or bool(changes),
    )
    for change in changes:
        log.info("changed by others: %s", change)
    if record != before:
        store.write_record(record)
    return record


def _current_versions(
    store: Store,
    known: StoreRecord,
    served: dict[str, ServedVersion],
    default: str,
    changes: list[str],
) -> dict[str, RecordedVersion]:
    """Return what to record of all served versions, those that were recorded before first.

    Parameters
    ----------
    changes
        Lines for the log, to which each difference from ``known`` is added.
    """
    unfinished = store.unfinished_deploy()
    left_out = {unfinished.version} - {default} if unfinished else set()
    versions = {}
    for version in dict.fromkeys([*known.versions, *served]):
        if version in left_out or version not in served:
            continue
        if recorded := _recorded(store, known, served[version], version == default, changes):
            versions[version] = recorded
    changes += [
        f"version {version} is not served any more and leaves the record"
        for version in known.versions
        if version not in versions
    ]
    return versions


def _recorded(
    store: Store,
    known: StoreRecord,
    served: ServedVersion,
    is_default: bool,
    changes: list[str],
) -> RecordedVersion | None:
    """Return what to record of a version that is served; None if its archive is not in the store.

    Raises
    ------
    ValueError
        The archive of the default version is not in the store.
    """
    before = known.versions.get(served.version)
    if before and before.archive == served.archive:
        if before.workers not in (None, served.min_workers):
            changes.append(f"version {served.version} has {served.min_workers} workers")
        return replace(before, workers=served.min_workers)
    path = store.folder / served.archive
    try:
        archive = Archive.open(path)
        if (archive.model, archive.version) != (MODEL, served.version):
            raise ValueError(f"{path} is {archive.model} {archive.version}")
    except ValueError as error:
        message = f"version {served.version} is served from {served.archive}"
        if is_default:
            raise ValueError(
                f"{message}, but {error}. If {store.folder} is not this server's model store, name"
                " that with --model-store"
            ) from error
        log.warning("%s and is not recorded: %s", message, error)
        return None
    changes.append(f"version {served.version} is served from {served.archive}")
    return RecordedVersion(served.archive, archive.sha256, served.min_workers)
