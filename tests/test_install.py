"""A wheel is built, installed where no checkout is seen, and used from an empty folder."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from captioner.operations.ports import Ports

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("captioner", "handler", "model", "training")
PARTS = (
    *("pyproject.toml", "setup.py", "README.md", "LICENSE", "config.properties"),
    *("checkpoints", "deploy", "benchmarks", *PACKAGES),
)


def run(*command: object, **more: object) -> str:
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=240, **more
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


def build_wheel(source: Path, out: Path) -> Path:
    run(
        *(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"),
        *("--wheel-dir", out, source),
    )
    (wheel,) = out.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout, as far as it is needed to build."""
    folder = tmp_path_factory.mktemp("clone")
    for name in PARTS:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        else:
            shutil.copyfile(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def wheel(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(clone, tmp_path_factory.mktemp("wheel"))


@dataclass(frozen=True)
class Installed:
    """The captioner of a virtual environment, run from an empty folder by a user with a new home.

    The environment has the other packages of this one, but not this checkout.
    """

    environment: Path
    folder: Path

    def __call__(self, *arguments: object) -> str:
        unset = {"PYTHONPATH", "XDG_DATA_HOME", "CAPTIONER_MODEL_STORE"}
        variables = {name: value for name, value in os.environ.items() if name not in unset}
        return run(
            self.environment / "bin" / "captioner",
            *arguments,
            cwd=self.folder,
            env=variables | {"HOME": str(self.folder.parent / "home")},
        )


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    environment, folder = tmp_path_factory.mktemp("venv"), tmp_path_factory.mktemp("user") / "empty"
    folder.mkdir()
    venv.create(environment, symlinks=True)
    (packages,) = environment.glob("lib/python*/site-packages")
    # A folder that a .pth file names is searched last, and its own .pth files, such as that of this
    # checkout's editable install, are not read.
    (packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    run(
        *(sys.executable, "-m", "pip", "--python", environment / "bin" / "python"),
        *("install", "--no-deps", wheel),
    )
    return Installed(environment, folder)


def test_the_wheel_holds_the_code_of_the_packages_and_no_other(wheel: Path) -> None:
    names = [Path(name) for name in zipfile.ZipFile(wheel).namelist()]
    code = {name.as_posix() for name in names if name.suffix == ".py"}
    wanted = {path for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    assert code == {path.relative_to(ROOT).as_posix() for path in wanted}
    folders = {name.parts[0] for name in names if not name.parts[0].endswith(".dist-info")}
    assert folders == set(PACKAGES)


def test_the_wheel_holds_every_recipe_and_file_of_the_handler(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("handler", "training/recipes"):
        wanted = {path.relative_to(ROOT).as_posix() for path in (ROOT / folder).glob("*.yaml")}
        assert wanted
        assert wanted <= names


def test_the_wheel_holds_every_file_of_the_page(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    page = ROOT / "captioner" / "web" / "page" / "static"
    wanted = {path.relative_to(ROOT).as_posix() for path in page.iterdir()}
    assert "captioner/web/page/static/index.html" in wanted
    assert wanted <= names


def test_a_build_leaves_the_checkout_as_it_was(clone: Path, wheel: Path) -> None:
    assert {path.name for path in clone.iterdir()} == set(PARTS)
    assert not (clone / "captioner" / "shipped").exists()


def test_the_source_distribution_gives_the_same_wheel(
    clone: Path, wheel: Path, tmp_path: Path
) -> None:
    """Built last of all: it leaves captioner.egg-info in the clone."""
    code = "import sys, setuptools.build_meta as b; print(b.build_sdist(sys.argv[1]))"
    source = tmp_path / run(sys.executable, "-c", code, tmp_path, cwd=clone).split()[-1]
    shutil.rmtree(clone / "captioner.egg-info")
    again = build_wheel(source, tmp_path)
    assert sorted(zipfile.ZipFile(again).namelist()) == sorted(zipfile.ZipFile(wheel).namelist())


def test_says_its_version(installed: Installed, wheel: Path) -> None:
    assert installed("--version").split()[-1] == wheel.name.split("-")[1]


def test_captions_explains_and_packages(installed: Installed, render: Callable[..., bytes]) -> None:
    photo = installed.folder / "photo.jpg"
    photo.write_bytes(render())
    found = re.fullmatch(
        r"photo\.jpg: (.+) \(confidence 0\.\d+\)\n", installed("caption", photo.name)
    )
    assert found
    assert installed("explain", photo.name, "--out", "words.png").strip().endswith(found[1])
    assert (installed.folder / "words.png").stat().st_size > 0
    shipped = next(installed.environment.glob("lib/python*/site-packages/captioner/shipped"))
    checkpoint = shipped / "checkpoints" / "flickr8k"
    installed("package", checkpoint, "--version", "1.0", "--out", "captioner.mar")
    assert (installed.folder / "captioner.mar").stat().st_size > 1e6


def test_serves_from_any_folder(installed: Installed, render: Callable[..., bytes]) -> None:
    ports, photo = Ports.find_free(), installed.folder / "served.jpg"
    photo.write_bytes(render("blue", "square"))
    caption = installed("caption", photo.name).split(": ", 1)[1].rsplit(" (", 1)[0]
    before = {path.name for path in installed.folder.iterdir()}
    installed("serve", "--detach", "--port", ports.inference)
    try:
        url = f"http://127.0.0.1:{ports.inference}/predictions/captioner"
        reply = requests.post(url, data=photo.read_bytes(), timeout=60).json()
        versions = f"http://127.0.0.1:{ports.management}"
        assert "1.0" in installed("versions", "--management", versions)
    finally:
        assert installed("serve", "--stop").strip() == "stopped"
    assert reply["caption"] == caption
    assert reply["model"]["version"] == "1.0"
    assert {path.name for path in installed.folder.iterdir()} == before
    store = installed.folder.parent / "home/.local/share/captioner/model_store"
    assert json.loads((store / "versions.json").read_text())
