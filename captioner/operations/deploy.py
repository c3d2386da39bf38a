"""Put a version behind live traffic, take it back, and tell what is served.

Nothing is lost because nothing is replaced: the new version stands beside the old one, proves that
it captions, and then becomes the default in one step; the old one finishes what it has.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from captioner.client import CaptionClient, CaptionError
from captioner.operations.adoption import adopt
from captioner.operations.archive import Archive
from captioner.operations.interrupts import Interrupts
from captioner.operations.keys import Keys
from captioner.operations.management import Management, ManagementError
from captioner.operations.retirement import retire
from captioner.operations.shadow import Shadowing, check_shadowable, clear, shadow
from captioner.operations.store import MODEL, Record, Store
from captioner.paths import MODEL_STORE

log = logging.getLogger("captioner")

READY_SECONDS = 60.0  # for workers that were loaded to be ready
POLL_SECONDS = 0.2


class DeployFailed(RuntimeError):
    """Why a version did not become the default; the one before still is."""


@dataclass(frozen=True)
class Place:
    """A server, and the folder that it loads archives from."""

    # Not in its repr: addresses may hold passwords.
    url: str = field(default="http://127.0.0.1:8080", repr=False)
    management: str = field(default="http://127.0.0.1:8081", repr=False)
    store: Path = MODEL_STORE
    keys: Keys | None = None  # where TorchServe asks for them

    def manage(self) -> Management:
        token = self.keys.management if self.keys else None
        return Management(self.management, MODEL, token)

    def ask(self, version: str) -> CaptionClient:
        token = self.keys.inference if self.keys else None
        return CaptionClient(self.url, model=MODEL, version=version, retries=0, token=token)


def deploy(
    archive: Path,
    place: Place,
    sha256: str | None = None,
    workers: int = 1,
    keep: bool = True,
    shadowing: Shadowing | None = None,
) -> None:
    """Make an archive's version the default one, without losing a request.

    Parameters
    ----------
    sha256
        What the archive must have.
    workers
        Of the new version.
    keep
        Whether the version before stays loaded, for `rollback`; older ones are removed.
    shadowing
        How to ask the new version what callers ask, before it is the default; prints a table.

    Raises
    ------
    ValueError
        The archive or the place will not do; nothing was changed.
    DeployFailed
        The new version did not prove itself; what was changed is as before.
    KeyboardInterrupt
        SIGINT or SIGTERM came; what was changed is as before, unless the version was the default
        already.
    """
    if workers < 1:
        raise ValueError(f"workers is {workers}; a version needs at least 1")
    store = Store(place.store)
    with Interrupts() as interrupts, store.locked(), place.manage() as management:
        clear(store.folder)
        new = Archive.open(archive, sha256)
        record = adopt(store, management)
        _clear_unfinished(management, store)
        new.check_served_as(MODEL)
        if new.version in record.versions:
            raise ValueError(f"version {new.version} is served already; package another version")
        if shadowing:
            check_shadowable(store.path(record.versions[record.default]), record.default)
        log.info(
            "version %s, sha256 %s: trying it in a process of its own", new.version, new.sha256
        )
        new.dry_run(store.work)
        try:
            with ExitStack() as undo, interrupts.held_after_failure():
                stored = store.begin(new, workers)
                undo.callback(_forget, management, store, new.version)
                log.info("loading it beside version %s", record.default)
                with interrupts.held():  # the server would go on, and nobody undo it
                    _load(management, new.version, stored.archive, workers)
                _ask_golden(place, new)
                log.info("it captions %d golden photos as it should", len(new.golden))
                if shadowing:
                    undo.callback(clear, store.folder)
                    _shadow(place, (record.default, new.version), shadowing)
                changed = record.with_version(new.version, stored).with_default(new.version)
                interrupts.hold()  # the server and the record change both or neither
                undo.callback(_back_to, management, record.default)
                management.set_default(new.version)
                store.write(changed)
                undo.pop_all()
                store.finish()
        except (ManagementError, CaptionError, OSError, ValueError) as error:
            raise DeployFailed(
                f"version {new.version} was not deployed: {error};"
                f" version {record.default} serves on"
            ) from error
        except KeyboardInterrupt:
            log.warning(
                "version %s was not deployed; version %s serves on", new.version, record.default
            )
            raise
        log.info("version %s is the default", new.version)
        interrupts.release()
        unneeded = [record.previous] if keep else [record.previous, record.default]
        _retire(management, store, changed, unneeded)


class Switched(NamedTuple):
    """The result of a rollback."""

    default: str  # the version that is the default now
    kept: str  # the one that was, which the next rollback makes the default again
    forward: bool  # whether it was deployed later than the other

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


def rollback(place: Place) -> Switched:
    """Make the version before the default again; a second time rolls forward.

    Raises
    ------
    ValueError
        There is none, or it has no worker; nothing was changed.
    """
    store = Store(place.store)
    with Interrupts() as interrupts, store.locked(), place.manage() as management:
        record = adopt(store, management)
        if record.previous is None:
            raise ValueError(f"no version before {record.default} was kept: nothing to go back to")
        served = management.version(record.previous)
        if served is None or not served.ready:
            raise ValueError(f"version {record.previous} has no READY worker; deploy it anew")
        with interrupts.held():  # the server and the record change both or neither
            management.set_default(record.previous)
            try:
                store.write(record.with_default(record.previous))
            except OSError:
                management.set_default(record.default)
                raise
        order = list(record.versions)  # as they were deployed
        forward = order.index(record.previous) > order.index(record.default)
        return Switched(record.previous, record.default, forward)


def undeploy(version: str, place: Place) -> None:
    """Remove a version that is not the default, once it has answered what it was asked.

    Raises
    ------
    ValueError
        There is none, or it is the default; nothing was changed.
    ManagementError
        It stays loaded; a restart does not load it.
    """
    store = Store(place.store)
    with Interrupts(), store.locked(), place.manage() as management:
        record = adopt(store, management)
        if version == record.default:
            raise ValueError(
                f"version {version} is the default; make another one that first, by captioner"
                " rollback or captioner deploy"
            )
        unfinished = store.unfinished()
        if unfinished and version == unfinished.version:
            _clear_unfinished(management, store)
        elif version in record.versions or management.version(version):
            _remove(management, store, record, version)
        else:
            raise ValueError(f"no version {version} is served; captioner versions lists them")


def _clear_unfinished(management: Management, store: Store) -> None:
    """Remove what a deploy that was killed has left, in the server and in the store."""
    if unfinished := store.unfinished():
        log.info("a deploy of version %s was killed: removing what it left", unfinished.version)
        retire(management, unfinished.version)
    store.finish()


def _load(management: Management, version: str, archive: str, workers: int) -> None:
    """Register an archive and wait until all its workers are ready."""
    retire(management, version)  # one that is served and could not be recorded
    management.register(archive, workers)
    served = management.version(version)
    if served and served.min_workers != workers:  # an archive that names a number of workers
        management.scale(version, workers)
    # Registered is not yet ready: for a moment a worker may still be called UNLOADING.
    deadline = time.monotonic() + READY_SECONDS
    while (served := management.version(version)) is None or served.ready < workers:
        if served is None or time.monotonic() > deadline:
            raise ManagementError(f"its workers are {served.workers if served else 'gone'}")
        time.sleep(POLL_SECONDS)


def _ask_golden(place: Place, new: Archive) -> None:
    """Ask the new version for captions that are known."""
    with place.ask(new.version) as client:
        new.compare([client.caption(golden.photo).caption for golden in new.golden])


def _shadow(place: Place, versions: tuple[str, str], wanted: Shadowing) -> None:
    """Ask the new one of two versions what the old one is asked; `ValueError` if it will not do."""
    log.info(
        "asking it for %g min what callers ask version %s, %g of the photos",
        *(wanted.minutes, versions[0], wanted.share),
    )
    with place.ask(versions[1]) as client:
        compared = shadow(client, place.store, versions, wanted)
    print(compared.table(), flush=True)
    compared.check(wanted)


def _retire(
    management: Management, store: Store, record: Record, versions: Iterable[str | None]
) -> None:
    """Remove versions that no rollback needs; what they were asked is answered first."""
    for version in versions:
        if version not in record.versions or version == record.default:
            continue
        log.info("version %s answers what it was asked, and goes", version)
        try:
            record = _remove(management, store, record, version)
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


def _remove(management: Management, store: Store, record: Record, version: str) -> Record:
    """Take a version from the record, from the server and from the store; the record then."""
    stored = record.versions.get(version)
    if stored:
        record = record.without(version)
        store.write(record)  # first: what a restart loads must be there
    try:
        retire(management, version)
    finally:
        if stored:
            store.path(stored).unlink(missing_ok=True)
    return record


def _forget(management: Management, store: Store, version: str) -> None:
    """Undo the loading of a version: remove it from the server, if it came so far."""
    try:
        retire(management, version)
    except ManagementError as error:
        log.warning(
            "version %s may stay loaded: %s; captioner undeploy %s removes it, and a restart does"
            " not load it",
            *(version, error, version),
        )
    else:
        store.finish()


def _back_to(management: Management, version: str) -> None:
    """Undo the switch: make the default what it was."""
    try:
        management.set_default(version)
    except ManagementError as error:
        log.warning("version %s may be the default only after a restart: %s", version, error)
