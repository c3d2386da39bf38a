"""Package the checkpoint, start TorchServe on loopback, caption a photo, say how to go on."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import time
import zipfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from captioner.operations.archive import MANIFEST
from captioner.operations.golden import sample_photo
from captioner.operations.interrupts import Interrupts
from captioner.operations.package import VERSION, build
from captioner.operations.store import MODEL, Record, Store, Stored, archive_name
from captioner.operations.torchserve import START_SECONDS, Ports, Server
from captioner.paths import SHIPPED, shown
from model import checkpoint as checkpoints
from model.files import write_whole

log = logging.getLogger("captioner")

FIRST_VERSION = "1.0"


def serve(
    server: Server,
    checkpoint: Path | None,
    version: str | None,
    model_store: Path,
    port: int,
    detach: bool,
    tokens: bool = False,
    workers: int | None = None,
) -> None:
    """Serve a checkpoint folder; returns once a caption came if detached, else when stopped.

    Parameters
    ----------
    checkpoint
        If not given, what was deployed to the model store or served from it last, or else the
        shipped one.
    version
        What the checkpoint is served as; if not given, what it was before, or else a new one.
    tokens
        Whether TorchServe asks everyone for one.
    workers
        Of the default version; if not given, as many as it had, or one.
    """
    if workers is not None and workers < 1:
        raise ValueError(f"workers is {workers}; a version needs at least 1")
    ports, store = Ports(port), Store(model_store)
    java = server.check_startable(ports)
    url = f"http://127.0.0.1:{port}/predictions/captioner"
    photo = sample_photo()
    with Interrupts() as interrupts:
        with server.reserve(store) as reservation:
            choose(store, checkpoint, version)
            record = store.read()
            if workers and record:
                store.write(record.with_workers(record.default, workers))
            interrupts.hold()  # whoever is interrupted below stops what was started
            server.start(java, store, ports, reservation, tokens=tokens)
        try:
            interrupts.release()
            log.info("starting TorchServe, logs in %s", server.logs)
            reply = server.wait_until_it_answers(url, photo.read_bytes(), START_SECONDS)
            print(f"{photo.name}: {reply.strip()}")
            token = ' -H "Authorization: Bearer INFERENCE_KEY"' if tokens else ""
            command = f"curl -T photo.jpg{token} {url}"
            print(f"\nServing. Try a photo of yours:\n\n    {command}\n", flush=True)
            if tokens:
                print(f"The keys are in {server.key_file}, for you alone.", flush=True)
            if detach:
                print("Stop it with: scripts/serve --stop", flush=True)
                return
            while server.process():
                time.sleep(0.5)
            raise RuntimeError(f"TorchServe has ended by itself; its logs: {server.logs}")
        except KeyboardInterrupt:
            log.info("stopping")
            server.record()
            server.stop()
        except BaseException:
            server.stop()
            raise


def choose(store: Store, checkpoint: Path | None, version: str | None) -> None:
    """Have the store's record list what is to be served; see `serve`.

    What was deployed is served as it is. A checkpoint is packaged anew at every start, with the
    code that is here now, and keeps its version; another one gets another.

    Raises
    ------
    ValueError
        The version is another checkpoint's, or is named without one where something was served
        before.
    """
    if checkpoint:
        _package(store, checkpoint, version)
        return
    record = store.read()
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
    stored = record.versions[record.default]
    if store.recorded() is None:  # put there by hand, and not to be replaced
        log.info("serving %s, version %s, from %s", stored.archive, record.default, store.folder)
        log.info(_back())
        return
    folder = Path(record.checkpoint) if record.checkpoint else SHIPPED
    if _digest(folder) == _digest(store.path(stored)):
        _package(store, folder, record.default)
        if folder != SHIPPED:
            log.info("it is %s, which was served last", shown(folder))
            log.info(_back())
        return
    store.open(record.default, stored)
    log.info("serving %s, version %s, which was served last", stored.archive, record.default)
    if record.checkpoint:
        log.info(
            "%s has changed or is gone since; scripts/serve --checkpoint %s serves it as it is now",
            *(shown(folder), shown(folder)),
        )
    log.info(_back())


def _back() -> str:
    return f"the shipped one is served by: scripts/serve --checkpoint {shown(SHIPPED)}"


def _package(store: Store, checkpoint: Path, version: str | None) -> None:
    """Package a checkpoint into the store, which serves it alone from now on."""
    known: dict[str, Stored] = {}
    default = None
    with suppress(ValueError):  # a record that is damaged ends here
        if record := store.recorded():
            known, default = record.versions, record.default
    version = _version(store, checkpoints.digest(checkpoint), version, default)
    before = known.get(version, Stored(archive_name(version), ""))
    content = build(checkpoint, version)
    write_whole(store.path(before), content)
    stored = replace(
        before, sha256=hashlib.sha256(content).hexdigest(), workers=before.workers or 1
    )
    log.info("packaged %s, version %s, sha256 %s", stored.archive, version, stored.sha256)
    folder = checkpoint.resolve()
    named = None if folder == SHIPPED else str(folder)  # which a checkout takes with it
    store.write(Record(version, None, {version: stored}, checkpoint=named))
    for other in sorted(known.keys() - {version}):
        path = shown(store.path(known[other]))
        if path.exists():
            log.info(
                "version %s is not served now; captioner deploy %s brings it back", other, path
            )


def _version(store: Store, digest: str, wanted: str | None, default: str | None) -> str:
    """Return the version that a checkpoint had in this store, or else one that none has had."""
    had: dict[str, set[str | None]] = {}  # digests of the checkpoints in all archives
    for path in store.folder.glob(f"{MODEL}*.mar"):
        had.setdefault(_version_of(path), set()).add(_digest(path))
    new = FIRST_VERSION
    if had:
        new = f"{1 + max(int(each.split('.')[0]) for each in had)}.0"
    if wanted:
        if had.get(wanted, {digest}) != {digest}:
            raise ValueError(
                f"version {wanted} in {store.folder} is another checkpoint; choose another"
                f" --version, such as {new}"
            )
        return wanted
    same = [each for each, theirs in had.items() if theirs == {digest}]
    if default in same:
        return default
    return max(same, key=lambda each: [int(part) for part in each.split(".")], default=new)


def _version_of(archive: Path) -> str:
    """Return the version of an archive, by its name if it is damaged."""
    version = archive.stem.removeprefix(f"{MODEL}-")
    with suppress(OSError, ValueError, LookupError, TypeError, zipfile.BadZipFile):
        version = str(
            json.loads((zipfile.Path(archive) / MANIFEST).read_text())["model"]["modelVersion"]
        )
    return version if re.fullmatch(VERSION, version) else "0"


def _digest(checkpoint: Path) -> str | None:
    """Return the digest of a checkpoint folder or of the one in an archive; None if it is none."""
    try:
        is_archive = checkpoint.suffix == ".mar"
        return checkpoints.digest(zipfile.Path(checkpoint) if is_archive else checkpoint)
    except (OSError, ValueError, LookupError, zipfile.BadZipFile):
        return None
