"""Images that tests build with buildah, without Docker and without namespaces."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from captioner.paths import ROOT

BASE = "localhost/captioner-base"
TORCHSERVE, WEB = "captioner-test", "captioner-web-test"  # the images of both targets
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
NEEDED = [  # by the tests of images
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="building an image here needs root"),
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: apt-get install {' '.join(MISSING)}"),
]


@dataclass
class Builder:
    """buildah with a storage of its own, without namespaces.

    Attributes
    ----------
    driver
        What keeps the layers of images: ``overlay`` shares their files, ``vfs`` works everywhere
        but copies a layer for whatever is built on it.
    sizes
        The bytes of each image that was built, see `_sizes`.
    """

    folder: Path
    driver: str = "vfs"
    sizes: dict[str, dict[str, int]] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        config = self.folder / "storage.conf"
        config.write_text(
            f'[storage]\ndriver = "{self.driver}"\ngraphroot = "{self.folder}/graph"\n'
            f'runroot = "{self.folder}/run"\n'
        )
        return os.environ | {
            "CONTAINERS_STORAGE_CONF": str(config),
            "STORAGE_DRIVER": self.driver,
            "BUILDAH_ISOLATION": "chroot",
            "TMPDIR": str(self.folder),  # where buildah keeps what it is writing
        }

    def can_overlay(self) -> bool:
        """Whether this machine's kernel and disk let buildah share the files of layers."""
        overlay = replace(self, driver="overlay").environment()
        return not subprocess.run(["buildah", "info"], env=overlay, capture_output=True).returncode

    def __call__(self, *command: str, **more: str) -> str:
        done = subprocess.run(
            command, cwd=ROOT, env=self.environment() | more, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        return done.stdout.strip()

    @contextmanager
    def image(self, name: str, *arguments: str) -> Iterator[str]:
        """Build an image with scripts/image from the base image; with CUDA it has 6 GB."""
        configuration, folders = pip_configuration(self.folder)
        self(
            "scripts/image",
            *(f"--volume={place}:{place}:ro" for place in folders),
            *arguments,
            BASE_IMAGE=BASE,
            TORCH_INDEX_URL="",
            PIP_CONFIG=str(configuration),
            IMAGE=name,
        )
        image = f"localhost/{name}"
        self.sizes[name] = _sizes(self, image)
        try:
            yield image
        finally:
            self("buildah", "rmi", image)

    @contextmanager
    def container(self, image: str) -> Iterator[tuple[str, Path]]:
        """Make a container of an image; yield its name and the folder with its files."""
        container = self("buildah", "from", image)
        try:
            yield container, Path(self("buildah", "mount", container))
        finally:
            self("buildah", "rm", container)


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


@contextmanager
def running_builder(folder: Path) -> Iterator[Builder]:
    """Make buildah with a base image: Debian and Python 3.11, from the mirrors of this machine."""
    builder, root = Builder(folder), folder / "base"
    if builder.can_overlay():
        builder.driver = "overlay"
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
    builder("buildah", "commit", container, BASE.removeprefix("localhost/"))
    builder("buildah", "rm", container)
    shutil.rmtree(root)
    yield builder
    with suppress(AssertionError):  # there are some only after a failure
        builder("buildah", "rm", "--all")
    shutil.rmtree(folder, ignore_errors=True)


def size(path: Path) -> int:
    """Return the size of a folder in bytes."""
    return int(subprocess.check_output(["du", "-sbx", path]).split()[0])


def packages(root: Path) -> Path:
    """Return the folder of Python's packages in an image's files."""
    (folder,) = root.glob("opt/captioner/lib/python3*/site-packages")
    return folder


def _sizes(builder: Builder, image: str) -> dict[str, int]:
    """Return the bytes of an image, of its base, of torch, and of what else it has."""
    with builder.container(image) as (_, root), builder.container(BASE) as (_, base):
        found = (packages(root) / name for name in TORCH_PACKAGES)
        bytes_of = {
            "all": size(root),
            "base": size(base),
            "torch": sum(size(path) for path in found if path.exists()),
        }
    return bytes_of | {"rest": bytes_of["all"] - bytes_of["base"] - bytes_of["torch"]}
