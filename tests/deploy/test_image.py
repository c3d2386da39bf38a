"""The image is built and its server run, where buildah is installed."""

from __future__ import annotations

import signal
from pathlib import Path

from captioner.operations.ports import Ports
from tests.captioner.operations.test_container import Callers, Started
from tests.deploy.images import NEEDED, TORCHSERVE, Builder, packages

MOUNTED_BY_BUILDAH = ("dev", "proc", "run", "sys")  # where it mounts
pytestmark = NEEDED


def test_the_image_captions_and_stops(builder: Builder, image: str, tmp_path: Path, render) -> None:
    """The server runs as a user other than root, and writes to the model store alone."""
    with builder.container(image) as (container, root):
        ports, address = Ports.find_free(), "127.0.0.1:{}".format
        written_to = {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_dir()}
        started = Started(
            [
                *("buildah", "run", "--mount", "type=tmpfs,destination=/tmp"),
                *("--env", f"CAPTIONER_INFERENCE={address(ports.inference)}"),
                *("--env", f"CAPTIONER_MANAGEMENT={address(ports.management)}"),
                *("--env", f"CAPTIONER_METRICS={address(ports.metrics)}"),
                *(container, "tini", "-s", "--", "python", "-m", "captioner.operations.container"),
            ],
            tmp_path / "log",
            builder.environment(),
        )
        try:
            started.wait_for("ready, on 127.0.0.1:")
            callers = Callers(ports.inference, render("red", "circle"))
            while len(callers.captions) < 30:
                assert started.process.poll() is None, started.log.read_text()
            (tini,) = [child for child in started.children() if child.name() == "tini"]
            assert {p.uids().real for p in (tini, *tini.children(recursive=True))} == {10001}
            tini.send_signal(signal.SIGTERM)
            assert started.process.wait(60) == 0, started.log.read_text()
            for thread in callers.threads:
                thread.join()
            assert not callers.lost
        finally:
            started.end()
        changed = [path for path, then in written_to.items() if path.stat().st_mtime_ns != then]
        may_change = {*MOUNTED_BY_BUILDAH, "model-store"}  # which says there that it is served
        assert [p for p in changed if p.relative_to(root).parts[0] not in may_change] == []


def test_the_image_is_small_beside_torch(builder: Builder, image: str) -> None:
    """The size is that of the image without torch and without its base."""
    bytes_of = builder.sizes[TORCHSERVE]
    print({name: f"{each / 1e6:.0f} MB" for name, each in bytes_of.items()})
    assert bytes_of["rest"] <= 400e6, bytes_of
    with builder.container(image) as (_, root):
        assert not (packages(root) / "pip").exists()
        assert not (root / "etc/pip.conf").exists()
        assert not [name for name in ("gcc", "cc", "javac") if (root / "usr/bin" / name).exists()]
