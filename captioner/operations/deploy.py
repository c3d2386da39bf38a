"""Deploy a version behind live traffic, roll back to the one before, remove one.

No request is lost, because nothing is replaced: the new version is loaded beside the old one,
proves that it captions, and then becomes the default in one step; the old one finishes what it has.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from captioner.client import CaptionError
from captioner.operations.archive import Archive
from captioner.operations.drain import drain_and_unregister
from captioner.operations.interrupts import Interrupts, aside
from captioner.operations.management import Management, ManagementError
from captioner.operations.reconcile import reconcile_record
from captioner.operations.record import StoreRecord
from captioner.operations.shadow import ShadowOptions, check_shadowable, remove_spool, shadow
from captioner.operations.store import MODEL, Store
from captioner.operations.target import ServerTarget

log = logging.getLogger("captioner")

READY_SECONDS = 60.0  # for workers that were loaded to be ready
POLL_SECONDS = 0.2


class DeployFailed(RuntimeError):
    """A version did not become the default, for the reason given; the one before still is."""


def deploy(
    archive: Path,
    target: ServerTarget,
    *,
    sha256: str | None = None,
    workers: int = 1,
    keep: bool = True,
    shadowing: ShadowOptions | None = None,
) -> None:
    """Make an archive's version the default one, without losing a request.

    Parameters
    ----------
    archive
        An archive that `captioner package` wrote.
    target
        The server, and its model store.
    sha256
        The digest that the archive must have; None accepts any.
    workers
        The number of workers of the new version.
    keep
        Whether the version before stays loaded, for `rollback`; older ones are removed.
    shadowing
        How to ask the new version the same as callers ask, before it is the default; prints a
        table. None does not.

    Raises
    ------
    ValueError
        The archive or the target cannot be used; nothing was changed.
    DeployFailed
        The new version failed a test; what was changed is as before.
    KeyboardInterrupt
        SIGINT or SIGTERM came; what was changed is as before, unless the version was the default
        already.
    """
    if workers < 1:
        raise ValueError(f"workers is {workers}; a version needs at least 1")
    store = Store(target.model_store)
    with Interrupts() as interrupts, store.lock_for_deploy(), target.open_management() as manager:
        remove_spool(store.folder)
        new = Archive.open(archive, sha256)
        record = reconcile_record(store, manager)
        _clear_unfinished(manager, store)
        _check_deployable(new, store, record, shadowing)
        log.info(
            "version %s, sha256 %s: trying it in a process of its own", new.version, new.sha256
        )
        new.dry_run(store.work)
        with (
            _failure_reported(new.version, record.default),
            ExitStack() as undo,
            interrupts.held_after_failure(),
        ):
            recorded = store.begin_deploy(new, workers)
            undo.callback(_unload, manager, store, new.version)
            log.info("loading it beside version %s", record.default)
            with interrupts.held():  # the server would go on loading, and nobody undo it
                _load(manager, new.version, recorded.archive, workers)
            _ask_golden(target, new)
            log.info("it captions %d golden photos as it should", len(new.golden))
            if shadowing:
                undo.callback(remove_spool, store.folder)
                _shadow(target, (record.default, new.version), shadowing)
            changed = record.with_version(new.version, recorded).with_default(new.version)
            interrupts.hold()  # the server and the record change both or neither
            undo.callback(_set_default_back, manager, record.default)
            manager.set_default(new.version)
            store.write_record(changed)
            undo.pop_all()
            store.end_deploy()
        log.info("version %s is the default", new.version)
        interrupts.release()
        unneeded = [record.previous] if keep else [record.previous, record.default]
        _remove_unneeded(manager, store, changed, unneeded)


class RollbackResult(NamedTuple):
    """The versions after a rollback."""

    default: str  # the version that is the default now
    kept: str  # the one that was, which the next rollback makes the default again
    forward: bool  # whether the default was deployed later than the other

    def __str__(self) -> str:
        if self.forward:
            return (
                f"version {self.default} is the default again"
                f" (rolled forward; {self.kept} is kept for the next rollback)"
            )
        return (
            f"version {self.default} is the default"
            f" ({self.kept} is kept; another rollback rolls forward to it)"
        )


def rollback(target: ServerTarget) -> RollbackResult:
    """Make the version before the default the default again; a second time rolls forward.

    Raises
    ------
    ValueError
        There is no version before, or it has no worker; nothing was changed.
    """
    store = Store(target.model_store)
    with Interrupts() as interrupts, store.lock_for_deploy(), target.open_management() as manager:
        record = reconcile_record(store, manager)
        if record.previous is None:
            raise ValueError(
                f"no version before {record.default} was kept: nothing to go back to; captioner"
                " deploy takes the archive of any version"
            )
        served = manager.version(record.previous)
        if served is None or not served.ready:
            raise ValueError(f"version {record.previous} has no READY worker; deploy it anew")
        with interrupts.held():  # the server and the record change both or neither
            manager.set_default(record.previous)
            try:
                store.write_record(record.with_default(record.previous))
            except OSError:
                manager.set_default(record.default)
                raise
        order = list(record.versions)  # in which they were deployed
        forward = order.index(record.previous) > order.index(record.default)
        return RollbackResult(record.previous, record.default, forward)


def undeploy(version: str, target: ServerTarget) -> None:
    """Remove a version that is not the default, once it has answered every request.

    Raises
    ------
    ValueError
        There is no such version, or it is the default; nothing was changed.
    ManagementError
        The version stays loaded; a restart does not load it.
    """
    store = Store(target.model_store)
    with Interrupts(), store.lock_for_deploy(), target.open_management() as manager:
        record = reconcile_record(store, manager)
        if version == record.default:
            raise ValueError(
                f"version {version} is the default; make another one that first, by captioner"
                " rollback or captioner deploy"
            )
        unfinished = store.unfinished_deploy()
        if unfinished and version == unfinished.version:
            _clear_unfinished(manager, store)
        elif version in record.versions or manager.version(version):
            _remove(manager, store, record, version)
        else:
            raise ValueError(f"no version {version} is served; captioner versions lists them")


@contextmanager
def _failure_reported(version: str, default: str) -> Iterator[None]:
    """Turn the failure of a deploy, which is undone by then, into `DeployFailed`."""
    try:
        yield
    except (ManagementError, CaptionError, OSError, ValueError) as error:
        raise DeployFailed(
            f"version {version} was not deployed: {error}; version {default} serves on"
        ) from error
    except KeyboardInterrupt:
        log.warning("version %s was not deployed; version %s serves on", version, default)
        raise


def _check_deployable(
    new: Archive, store: Store, record: StoreRecord, shadowing: ShadowOptions | None
) -> None:
    """Raise `ValueError` if an archive cannot be deployed to this store."""
    new.check_served_as(MODEL)
    if new.version in record.versions:
        raise ValueError(f"version {new.version} is served already; package another version")
    if shadowing:
        check_shadowable(store.archive_path(record.versions[record.default]), record.default)


def _clear_unfinished(manager: Management, store: Store) -> None:
    """Remove what a deploy that was killed has left, in the server and in the store."""
    if unfinished := store.unfinished_deploy():
        log.info("a deploy of version %s was killed: removing what it left", unfinished.version)
        drain_and_unregister(manager, unfinished.version)
    store.end_deploy()


def _load(manager: Management, version: str, archive: str, workers: int) -> None:
    """Register an archive and wait until all its workers are ready."""
    drain_and_unregister(manager, version)  # one that is served and could not be recorded
    manager.register(archive, workers)
    served = manager.version(version)
    if served and served.min_workers != workers:  # the archive itself names a number of workers
        manager.scale(version, workers)
    # A worker that is registered is not ready yet: for a moment it may still be UNLOADING.
    deadline = time.monotonic() + READY_SECONDS
    while (served := manager.version(version)) is None or served.ready < workers:
        if served is None or time.monotonic() > deadline:
            raise ManagementError(f"its workers are {served.workers if served else 'gone'}")
        time.sleep(POLL_SECONDS)


def _ask_golden(target: ServerTarget, new: Archive) -> None:
    """Ask the new version for the known captions of its golden photos."""
    with target.open_client(new.version) as client:
        new.compare([aside(client.caption, golden.photo).caption for golden in new.golden])


def _shadow(target: ServerTarget, versions: tuple[str, str], options: ShadowOptions) -> None:
    """Compare a new version with the old one on live traffic, and print the result.

    Raises
    ------
    ValueError
        The new version fails on a photo, or agrees less than demanded.
    """
    log.info(
        "asking it for %g min what callers ask version %s, %g of the photos",
        *(options.minutes, versions[0], options.share),
    )
    with target.open_client(versions[1]) as client:
        comparison = shadow(client, target.model_store, versions, options)
    print(comparison.table(), flush=True)
    comparison.check(options)


def _remove_unneeded(
    manager: Management, store: Store, record: StoreRecord, versions: Iterable[str | None]
) -> None:
    """Remove versions that no rollback needs, once they have answered every request."""
    for version in versions:
        if version not in record.versions or version == record.default:
            continue
        log.info("removing version %s once it has answered its requests", version)
        try:
            record = _remove(manager, store, record, version)
        except ManagementError as error:
            record = record.without(version)
            log.warning(
                "version %s stays loaded: %s; captioner undeploy %s removes it",
                *(version, error, version),
            )
        except KeyboardInterrupt:
            log.warning(
                "version %s stays loaded: interrupted; captioner undeploy %s removes it",
                *(version, version),
            )
            raise


def _remove(manager: Management, store: Store, record: StoreRecord, version: str) -> StoreRecord:
    """Remove a version from the record, the server and the store; return the record without it."""
    recorded = record.versions.get(version)
    if recorded:
        record = record.without(version)
        store.write_record(record)  # first: every archive that the record lists must exist
    try:
        drain_and_unregister(manager, version)
    finally:
        if recorded:
            store.archive_path(recorded).unlink(missing_ok=True)
    return record


def _unload(manager: Management, store: Store, version: str) -> None:
    """Undo the loading of a version: remove it from the server, if it was loaded, and the store."""
    try:
        drain_and_unregister(manager, version)
    except ManagementError as error:
        log.warning(
            "version %s may stay loaded: %s; captioner undeploy %s removes it, and a restart does"
            " not load it",
            *(version, error, version),
        )
    else:
        store.end_deploy()


def _set_default_back(manager: Management, version: str) -> None:
    """Undo the switch: make the version before the default again."""
    try:
        manager.set_default(version)
    except ManagementError as error:
        log.warning("version %s may be the default only after a restart: %s", version, error)
