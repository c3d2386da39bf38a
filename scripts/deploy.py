"""Put a version behind live traffic, take it back, and tell what is served.

Nothing is lost because nothing is replaced: the new version stands beside the old one, proves that
it captions, and then becomes the default in one step; the old one finishes what it has.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from handler.client import CaptionClient, CaptionError
from scripts.archive import Archive
from scripts.interrupts import Interrupts
from scripts.keys import Keys
from scripts.management import Management, ManagementError
from scripts.places import MODEL_STORE
from scripts.shadow import Shadowing, check_shadowable, clear, shadow
from scripts.store import MODEL, Record, Store, Stored, archive_name

log = logging.getLogger("captioner")

DRAIN_SECONDS = 120.0  # for a version's queue to become empty
READY_SECONDS = 60.0  # for workers that were loaded to be ready
LEAST_BATCH_SECONDS = 2.0
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
    store = Store(place.store)
    with Interrupts() as interrupts, store.locked(), place.manage() as management:
        clear(store.folder)
        new = Archive.open(archive, sha256)
        record = _agreed(store, management)
        if new.model != MODEL:
            raise ValueError(f"{archive} is an archive of {new.model!r}, not of {MODEL!r}")
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
                stored = _stored(new, store, undo)
                log.info("loading it beside version %s", record.default)
                with interrupts.held():  # the server would go on, and nobody undo it
                    _load(management, new.version, stored, workers, undo)
                seconds = _asked(place, new)
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
        batch = max(LEAST_BATCH_SECONDS, seconds * int(new.settings["batchSize"]))
        _retire(management, store, changed, keep, batch)


def rollback(place: Place) -> str:
    """Make the version before the default again, and return it.

    Raises
    ------
    ValueError
        There is none, or it has no worker; nothing was changed.
    """
    store = Store(place.store)
    with Interrupts() as interrupts, store.locked(), place.manage() as management:
        record = _agreed(store, management)
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
        return record.previous


def versions(place: Place) -> str:
    """A table of what is served and what the record says."""
    record = Store(place.store).read()
    with place.manage() as management:
        default, served = management.default(), management.versions()
    lines = [("version", "role", "workers", "pending", "archive", "sha256")]
    for each in served:
        known = record.versions.get(each.version) if record else None
        role = "default" if each.version == default else ""
        if record and each.version == record.previous:
            role = "rollback"
        lines.append(
            (
                each.version,
                role if known else f"{role} not recorded".strip(),
                f"{each.ready} of {len(each.workers)} ready",
                str(each.pending),
                each.archive,
                known.sha256[:12] if known else "",
            )
        )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    told = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    if record and record.default != default:
        told.append(f"after a restart {record.default} is the default")
    return "\n".join(told)


def _agreed(store: Store, management: Management) -> Record:
    """The record, if the server serves what it says."""
    record = store.read()
    if record is None:
        raise ValueError(
            f"{store.folder} has no record of what is served; is it this server's model store?"
        )
    default = management.default()
    if default != record.default:
        raise ValueError(
            f"the server's default is version {default}, the record in {store.folder} says"
            f" {record.default}; is it this server's model store?"
        )
    return record


def _stored(new: Archive, store: Store, undo: ExitStack) -> Stored:
    """Copy the archive to where the server loads from, unless it lies there already."""
    stored = Stored(archive_name(new.version), new.sha256)
    place = store.path(stored)
    if not place.exists():
        undo.callback(place.unlink, missing_ok=True)
        new.copy_to(place)
    elif Archive.open(place).sha256 != new.sha256:
        raise ValueError(f"{place} is another archive; deploy that, or move it away")
    return stored


def _load(
    management: Management, version: str, stored: Stored, workers: int, undo: ExitStack
) -> None:
    if management.version(version):  # a deploy was killed after it had come so far
        management.unregister(version)
    undo.callback(_forget, management, version)
    management.register(stored.archive, workers)
    # Registered is not yet ready: for a moment a worker may still be called UNLOADING.
    deadline = time.monotonic() + READY_SECONDS
    while (served := management.version(version)) is None or served.ready < workers:
        if served is None or time.monotonic() > deadline:
            raise ManagementError(f"its workers are {served.workers if served else 'gone'}")
        time.sleep(POLL_SECONDS)


def _asked(place: Place, new: Archive) -> float:
    """Ask the new version for captions that are known; the slowest answer's seconds."""
    slowest = 0.0
    with place.ask(new.version) as client:
        captions = []
        for golden in new.golden:
            started = time.monotonic()
            captions.append(client.caption(golden.photo).caption)
            slowest = max(slowest, time.monotonic() - started)
    new.compare(captions)
    return slowest


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


def _retire(management: Management, store: Store, record: Record, keep: bool, batch: float) -> None:
    """Remove versions that no rollback needs; what they were asked is answered first."""
    kept = {record.default, record.previous if keep else None}
    for version in [v for v in record.versions if v not in kept]:
        log.info("version %s finishes what it has and goes", version)
        archive = store.path(record.versions[version])
        record = record.without(version)
        store.write(record)  # first: what a restart loads must be there
        try:
            _drain(management, version, batch)
            management.unregister(version)
        except ManagementError as error:
            log.warning("version %s stays loaded until a restart: %s", version, error)
        except KeyboardInterrupt:
            log.warning("version %s stays loaded until a restart: interrupted", version)
            raise
        finally:
            archive.unlink(missing_ok=True)


def _drain(management: Management, version: str, batch: float) -> None:
    """Wait until a version that is not the default has answered what it was asked."""
    deadline = time.monotonic() + DRAIN_SECONDS
    while (served := management.version(version)) and served.pending:
        if time.monotonic() > deadline:
            raise ManagementError(f"{served.pending} requests wait still, after {DRAIN_SECONDS} s")
        time.sleep(POLL_SECONDS)
    time.sleep(batch)  # what a worker has taken is in no queue any more


def _forget(management: Management, version: str) -> None:
    """Of an undo: unregister a version, if it came so far."""
    with _noted(f"version {version} may stay loaded until a restart"):
        if management.version(version):
            _drain(management, version, LEAST_BATCH_SECONDS)
            management.unregister(version)


def _back_to(management: Management, version: str) -> None:
    """Of an undo: the default as it was."""
    with _noted(f"version {version} may be the default only after a restart"):
        management.set_default(version)


@contextmanager
def _noted(consequence: str) -> Iterator[None]:
    """An undo goes on when the server is away; what that means is logged."""
    try:
        yield
    except ManagementError as error:
        log.warning("%s: %s", consequence, error)
