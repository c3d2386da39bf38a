"""Package the checkpoint, start TorchServe on loopback, caption a photo, say how to go on."""

from __future__ import annotations

import logging
import signal
import time
from pathlib import Path
from types import FrameType

from scripts.golden import sample_photo
from scripts.package import package
from scripts.places import SHIPPED
from scripts.store import FIRST, Record, Store, Stored
from scripts.torchserve import START_SECONDS, Ports, Server

log = logging.getLogger("captioner")


def serve(
    server: Server,
    checkpoint: Path | None,
    version: str,
    model_store: Path,
    port: int,
    detach: bool,
    tokens: bool = False,
) -> None:
    """Serve a checkpoint folder; returns once a caption came if detached, else when stopped.

    Parameters
    ----------
    checkpoint
        If not given, what was deployed to the model store, or else the shipped one.
    tokens
        Whether TorchServe asks everyone for one.
    """
    ports, store = Ports(port), Store(model_store)
    java = server.check_startable(ports)
    record = None if checkpoint else store.read()
    if record and record.deployed:
        log.info("serving what was deployed, version %s by default", record.default)
    else:
        archive = model_store / FIRST
        digest = package(checkpoint or SHIPPED, version, archive)
        log.info("packaged %s, version %s, sha256 %s", archive.name, version, digest)
        store.write(Record(version, versions={version: Stored(archive.name, digest)}))
    signal.signal(signal.SIGTERM, _interrupt)
    url = f"http://127.0.0.1:{port}/predictions/captioner"
    photo = sample_photo()
    try:
        server.start(java, store, ports, tokens=tokens)
        log.info("starting TorchServe, log in %s", server.log)
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
        raise RuntimeError(f"TorchServe has ended by itself; its log: {server.log}")
    except KeyboardInterrupt:
        log.info("stopping")
        server.stop()
    except BaseException:
        server.stop()
        raise


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
