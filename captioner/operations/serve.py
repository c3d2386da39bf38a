"""Package a checkpoint, start TorchServe on loopback and caption a photo."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import time
import zipfile
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from captioner.operations.archive import MANIFEST, VERSION
from captioner.operations.interrupts import Interrupts
from captioner.operations.package import build
from captioner.operations.ports import Ports
from captioner.operations.record import RecordedVersion, StoreRecord
from captioner.operations.store import MODEL, Store, archive_name
from captioner.operations.torchserve import START_SECONDS, Server
from captioner.paths import MODEL_STORE, SERVE_COMMAND, SERVER_FOLDER, SHIPPED, shown
from captioner.sample_photo import sample_photo
from model import checkpoint as checkpoints
from model.files import write_whole

log = logging.getLogger("captioner")

FIRST_VERSION = "1.0"
POLL_SECONDS = 0.5


@dataclass(frozen=True)
class ServeOptions:
    """The checkpoint to serve, and the settings of its server.

    Parameters
    ----------
    checkpoint
        The checkpoint folder; None is what was deployed to the model store or served from it last,
        or else the shipped checkpoint.
    version
        The version that the checkpoint is served as; None is the version that it had before, or
        else a new one.
    model_store
        The folder that the archive is written to and served from.
    port
        The first of five ports; see `Ports`.
    detach
        Whether to return once a caption came, and leave the server running.
    tokens
        Whether TorchServe asks every caller for a token.
    workers
        The number of workers of the default version; None is the number that it had, or one.
    """

    checkpoint: Path | None = None
    version: str | None = None
    model_store: Path = MODEL_STORE
    port: int = 8080
    detach: bool = False
    tokens: bool = False
    workers: int | None = None

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise ValueError(f"workers is {self.workers}; a version needs at least 1")


def serve(server: Server, options: ServeOptions) -> None:
    """Serve a checkpoint; return once a caption came if detached, else once interrupted.

    SIGINT and SIGTERM stop the server. If anything fails, the server is stopped as well.

    Raises
    ------
    ValueError
        The checkpoint, the store, the folder or the ports cannot be used; nothing was started.
    RuntimeError
        The server ended by itself, or gave no caption in time.
    """
    ports, store = Ports(options.port), Store(options.model_store)
    java = server.check_can_start(ports)
    with Interrupts() as interrupts:
        with server.lock(store) as lock:
            prepare_store(store, options.checkpoint, options.version)
            record = store.read_record()
            if options.workers and record:
                store.write_record(record.with_workers(record.default, options.workers))
            interrupts.hold()  # an interrupt that comes now must stop what is started here
            server.start(java, store, ports, lock, tokens=options.tokens)
        try:
            interrupts.release()
            log.info("starting TorchServe, logs in %s", server.logs)
            _caption_sample(server, ports, options.tokens)
            if options.detach:
                where = "" if server.folder == SERVER_FOLDER else f" --folder {server.folder}"
                print(f"Stop it with: {SERVE_COMMAND} --stop{where}", flush=True)
                return
            while server.process():
                time.sleep(POLL_SECONDS)
            raise RuntimeError(f"TorchServe has ended by itself; its logs: {server.logs}")
        except KeyboardInterrupt:
            log.info("stopping")
            try:
                server.record_served_versions()
            finally:
                server.stop()
        except BaseException:
            server.stop()
            raise


def _caption_sample(server: Server, ports: Ports, tokens: bool) -> None:
    """Wait until the server has captioned a sample photo, and print how to ask it."""
    url = f"http://127.0.0.1:{ports.inference}/predictions/{MODEL}"
    photo = sample_photo()
    reply = server.wait_for_caption(url, photo.content, START_SECONDS)
    print(f"{photo.name}: {reply.strip()}")
    header = ' -H "Authorization: Bearer INFERENCE_KEY"' if tokens else ""
    command = f"curl -T photo.jpg{header} {url}"
    print(f"\nServing. Try a photo of yours:\n\n    {command}\n", flush=True)
    if tokens:
        print(f"The keys are in {server.key_file}, which only you can read.", flush=True)


def prepare_store(store: Store, checkpoint: Path | None, version: str | None) -> None:
    """Make a store's record list what is to be served; see `ServeOptions`.

    What was deployed is served as it is. A checkpoint is packaged anew at every start, with the
    code that is here now, and keeps its version; another checkpoint gets another version.

    Raises
    ------
    ValueError
        The version is another checkpoint's, or is named without a checkpoint where something was
        served before.
    """
    if checkpoint:
        _package(store, checkpoint, version)
        return
    record = store.read_record()
    if record is None:
        _package(store, SHIPPED, version)
        return
    if version not in (None, record.default):
        raise ValueError(
            f"{store.folder} holds version {record.default} to serve; name the --checkpoint that is"
            f" to be version {version}"
        )
    if record.deployed:
        log.info("serving what was deployed, version %s by default", record.default)
        return
    recorded = record.versions[record.default]
    if store.written_record() is None:  # somebody put the archive there, so it is not replaced
        log.info("serving %s, version %s, from %s", recorded.archive, record.default, store.folder)
        _log_how_to_serve_shipped()
        return
    _prepare_last_served(store, record, recorded)


def _prepare_last_served(store: Store, record: StoreRecord, recorded: RecordedVersion) -> None:
    """Package the checkpoint that was served last, or keep its archive if it has changed since."""
    folder = Path(record.checkpoint) if record.checkpoint else SHIPPED
    if _checkpoint_digest(folder) == _checkpoint_digest(store.archive_path(recorded)):
        _package(store, folder, record.default)
        if folder != SHIPPED:
            log.info("it is %s, which was served last", shown(folder))
            _log_how_to_serve_shipped()
        return
    store.open_archive(record.default, recorded)
    log.info("serving %s, version %s, which was served last", recorded.archive, record.default)
    if record.checkpoint:
        log.info(
            "%s has changed or is gone since; %s --checkpoint %s serves it as it is now",
            *(shown(folder), SERVE_COMMAND, shown(folder)),
        )
    _log_how_to_serve_shipped()


def _log_how_to_serve_shipped() -> None:
    log.info("the shipped one is served by: %s --checkpoint %s", SERVE_COMMAND, shown(SHIPPED))


def _package(store: Store, checkpoint: Path, version: str | None) -> None:
    """Package a checkpoint into the store, whose record lists it alone from now on."""
    versions: dict[str, RecordedVersion] = {}
    default = None
    with suppress(ValueError):  # a damaged record is replaced
        if record := store.written_record():
            versions, default = record.versions, record.default
    version = _choose_version(store, checkpoints.digest(checkpoint), version, default)
    before = versions.get(version, RecordedVersion(archive_name(version), ""))
    content = build(checkpoint, version)
    write_whole(store.archive_path(before), content)
    recorded = replace(
        before, sha256=hashlib.sha256(content).hexdigest(), workers=before.workers or 1
    )
    log.info("packaged %s, version %s, sha256 %s", recorded.archive, version, recorded.sha256)
    folder = checkpoint.resolve()
    # The shipped one is not named: its path changes with that of the checkout.
    named = None if folder == SHIPPED else str(folder)
    store.write_record(StoreRecord(version, None, {version: recorded}, checkpoint=named))
    for other in sorted(versions.keys() - {version}):
        path = shown(store.archive_path(versions[other]))
        if path.exists():
            log.info(
                "version %s is not served now; captioner deploy %s brings it back", other, path
            )


def _choose_version(store: Store, digest: str, wanted: str | None, default: str | None) -> str:
    """Return the version that a checkpoint had in this store, or else one that none has had.

    Parameters
    ----------
    digest
        The digest of the checkpoint.
    wanted
        The version that the user names.
    default
        The version that was served last.

    Raises
    ------
    ValueError
        The wanted version is another checkpoint's.
    """
    digests: dict[str, set[str | None]] = {}  # of the checkpoints in the archives of each version
    for path in store.folder.glob(f"{MODEL}*.mar"):
        digests.setdefault(_version_of(path), set()).add(_checkpoint_digest(path))
    new = FIRST_VERSION
    if digests:
        new = f"{1 + max(int(version.split('.')[0]) for version in digests)}.0"
    if wanted:
        if digests.get(wanted, {digest}) != {digest}:
            raise ValueError(
                f"version {wanted} in {store.folder} is another checkpoint; choose another"
                f" --version, such as {new}"
            )
        return wanted
    same = [version for version, found in digests.items() if found == {digest}]
    if default in same:
        return default
    return max(same, key=lambda version: [int(part) for part in version.split(".")], default=new)


def _version_of(archive: Path) -> str:
    """Return the version of an archive, by its name if it is damaged."""
    version = archive.stem.removeprefix(f"{MODEL}-")
    with suppress(OSError, ValueError, LookupError, TypeError, zipfile.BadZipFile):
        version = str(
            json.loads((zipfile.Path(archive) / MANIFEST).read_text())["model"]["modelVersion"]
        )
    return version if re.fullmatch(VERSION, version) else "0"


def _checkpoint_digest(path: Path) -> str | None:
    """Return the digest of a checkpoint folder, or of the one in an archive; None without one."""
    try:
        is_archive = path.suffix == ".mar"
        return checkpoints.digest(zipfile.Path(path) if is_archive else path)
    except (OSError, ValueError, LookupError, zipfile.BadZipFile):
        return None
