"""The image is built and its server run, where buildah is installed."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from captioner.operations.ports import Ports
from captioner.paths import ROOT
from tests.captioner.operations.test_container import Callers, Started

MOUNTED_BY_BUILDAH = ("dev", "proc", "run", "sys")  # where it mounts
# torch, and packages that only torch needs.
TORCH_PACKAGES = (
    "torch",
    "functorch",
    "torchgen",
    "nvidia",
    "cuda",
    "triton",
    "sympy",
    "networkx",
    "mpmath",
)
MISSING = [name for name in ("buildah", "debootstrap") if not shutil.which(name)]
pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="building an image here needs root"),
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: apt-get install {' '.join(MISSING)}"),
]


@dataclass
class Builder:
    """buildah with a storage of its own, without namespaces."""

    folder: Path

    def environment(self) -> dict[str, str]:
        config = self.folder / "storage.conf"
        config.write_text(
            f'[storage]\ndriver = "vfs"\ngraphroot = "{self.folder}/graph"\n'
            f'runroot = "{self.folder}/run"\n'
        )
        return os.environ | {
            "CONTAINERS_STORAGE_CONF": str(config),
            "STORAGE_DRIVER": "vfs",
            "BUILDAH_ISOLATION": "chroot",
        }

    def __call__(self, *command: str, **more: str) -> str:
        done = subprocess.run(
            command, cwd=ROOT, env=self.environment() | more, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        return done.stdout.strip()


def pip_configuration(folder: Path) -> tuple[Path, list[str]]:
    """Copy pip's settings for the build; return the file and the local folders that it names."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    settings = dict(re.findall(r"^(?:global|:env:)\.(\S+?)='(.*)'$", listed, re.MULTILINE))
    path = folder / "pip.conf"
    path.write_text("[global]\n" + "".join(f"{k} = {v}\n" for k, v in settings.items()))
    places = [urlsplit(word).path for value in settings.values() for word in value.split()]
    folders = {str(Path(*Path(place).parts[:3])) for place in places if Path(place).exists()}
    return path, sorted(folders)


@pytest.fixture(scope="module")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Builder]:
    """buildah with a base image: Debian and Python 3.11, from the mirrors of this machine."""
    folder = tmp_path_factory.mktemp("image")
    builder, root = Builder(folder), folder / "base"
    packages = "python3,python3-venv,ca-certificates"
    builder(
        *("debootstrap", "--variant=minbase", f"--include={packages}", "bookworm", str(root)),
        "http://deb.debian.org/debian",
    )
    for name in ("sources.list.d", "apt.conf.d"):
        shutil.copytree(f"/etc/apt/{name}", root / "etc/apt" / name, dirs_exist_ok=True)
    for name in ("var/cache/apt/archives", "var/lib/apt/lists"):  # as the usual base images do
        shutil.rmtree(root / name)
        (root / name / "partial").mkdir(parents=True)
    container = builder("buildah", "from", "scratch")
    builder("buildah", "copy", container, str(root), "/")
    builder("buildah", "commit", container, "captioner-base")
    builder("buildah", "rm", container)
    shutil.rmtree(root)
    yield builder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def image(builder: Builder) -> str:
    configuration, folders = pip_configuration(builder.folder)
    builder(
        "scripts/image",
        *(f"--volume={place}:{place}:ro" for place in folders),
        BASE_IMAGE="localhost/captioner-base",
        TORCH_INDEX_URL="",
        PIP_CONFIG=str(configuration),
        IMAGE="captioner-test",
    )
    return "localhost/captioner-test"


def size(path: Path) -> int:
    """Return the size of a folder in bytes."""
    return int(subprocess.check_output(["du", "-sbx", path]).split()[0])


@pytest.mark.slow
def test_the_image_captions_and_stops(builder: Builder, image: str, tmp_path: Path, render) -> None:
    """The server runs as a user other than root, and writes to the model store alone."""
    container = builder("buildah", "from", image)
    root = Path(builder("buildah", "mount", container))
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


@pytest.mark.slow
def test_the_image_is_small_beside_torch(builder: Builder, image: str) -> None:
    """The size is that of the image without torch and without its base."""
    root = Path(builder("buildah", "mount", builder("buildah", "from", image)))
    base = Path(builder("buildah", "mount", builder("buildah", "from", "localhost/captioner-base")))
    (packages,) = root.glob("opt/captioner/lib/python3*/site-packages")
    torch = sum(size(packages / name) for name in TORCH_PACKAGES if (packages / name).exists())
    bytes_of = {"all": size(root), "base": size(base), "torch": torch}
    sizes = ", ".join(f"{name} {each / 1e6:.0f} MB" for name, each in bytes_of.items())
    print(sizes)
    assert bytes_of["all"] - bytes_of["base"] - torch <= 400e6, sizes
    assert not (packages / "pip").exists()
    assert not (root / "etc/pip.conf").exists()
    assert not [name for name in ("gcc", "cc", "javac") if (root / "usr/bin" / name).exists()]
