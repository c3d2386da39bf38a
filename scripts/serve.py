"""Package the checkpoint, start TorchServe on loopback, caption a photo, say how to go on."""

from __future__ import annotations

import importlib.resources
import logging
import signal
import time
from pathlib import Path
from types import FrameType

from scripts.package import package
from scripts.torchserve import Ports, Server

log = logging.getLogger("captioner")

START_SECONDS = 180.0


def sample_photo() -> Path:
    """A photo that came with an installed package: Grace Hopper, by the US Navy (public domain)."""
    photo = importlib.resources.files("matplotlib") / "mpl-data/sample_data/grace_hopper.jpg"
    return Path(str(photo))


def serve(
    server: Server, checkpoint: Path, version: str, model_store: Path, port: int, detach: bool
) -> None:
    """Serve a checkpoint folder; returns once a caption came if detached, else when stopped."""
    ports = Ports(port)
    java = server.check_startable(ports)
    archive = model_store / "captioner.mar"
    digest = package(checkpoint, version, archive)
    log.info("packaged %s, version %s, sha256 %s", archive.name, version, digest)
    signal.signal(signal.SIGTERM, _interrupt)
    url = f"http://127.0.0.1:{port}/predictions/captioner"
    photo = sample_photo()
    try:
        server.start(java, archive.parent, f"captioner={archive.name}", ports)
        log.info("starting TorchServe, log in %s", server.log)
        reply = server.wait_until_it_answers(url, photo.read_bytes(), START_SECONDS)
        print(f"{photo.name}: {reply.strip()}")
        print(f"\nServing. Try a photo of yours:\n\n    curl -T photo.jpg {url}\n", flush=True)
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
