"""Bring the record in line with what a server serves.

Whoever calls TorchServe's management API changes what is served, and the record knows nothing of
it. What is served is right: callers get it.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from captioner.operations.archive import Archive
from captioner.operations.management import Management, Served
from captioner.operations.store import MODEL, Record, Store, Stored

log = logging.getLogger("captioner")


def adopt(store: Store, management: Management) -> Record:
    """Write down what is served now, each change in one line of the log, and return the record.

    Versions of the record that are not served any more are dropped, those that others registered
    from the store are added, the default and the numbers of workers become what they are. A version
    that a deploy was loading when it was killed is left out, unless it is the default.

    Raises
    ------
    ValueError
        The server has no captioner, or one that is not of this store.
    """
    before = store.read()
    served = {each.version: each for each in management.versions()}
    if not served:
        raise ValueError(
            f"{management.url} serves no {MODEL}; scripts/serve --stop, then scripts/serve --detach"
            " starts what was served before"
        )
    default = management.default()
    known = before or Record(default)
    changes: list[str] = []
    versions = {}
    unfinished = store.unfinished()
    left_out = {unfinished.version} - {default} if unfinished else set()
    for version in dict.fromkeys([*known.versions, *served]):
        if version in left_out or version not in served:
            continue
        if stored := _stored(store, known, served[version], version == default, changes):
            versions[version] = stored
    changes += [
        f"version {version} is not served any more: it leaves the record"
        for version in known.versions
        if version not in versions
    ]
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
        store.write(record)
    return record


def _stored(
    store: Store, known: Record, served: Served, is_default: bool, changes: list[str]
) -> Stored | None:
    """Return the archive of a version that is served; None if it is not in the store.

    Raises
    ------
    ValueError
        It is not, and callers get that version by default.
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
        log.warning("%s and stays unrecorded: %s", message, error)
        return None
    changes.append(f"version {served.version} is served from {served.archive}")
    return Stored(served.archive, archive.sha256, served.min_workers)
