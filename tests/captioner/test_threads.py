"""Spinning is limited where a process starts, before torch is imported, unless the user chose."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from captioner.operations.package import package
from captioner.operations.ports import Ports
from captioner.operations.record import RecordedVersion, StoreRecord
from captioner.operations.store import Store
from captioner.operations.torchserve import Server
from captioner.threads import SPIN_LIMITS, WAIT_POLICY, limit_spinning

ROOT = Path(__file__).resolve().parents[2]
PLAIN = {
    name: value for name, value in os.environ.items() if name not in {WAIT_POLICY, *SPIN_LIMITS}
}


def test_the_limits_are_set_unless_the_user_chose() -> None:
    environment = {"PATH": "/bin"}
    limit_spinning(environment)
    assert environment == {"PATH": "/bin", **SPIN_LIMITS}
    for name in (WAIT_POLICY, *SPIN_LIMITS):
        environment = {name: "the user's"}
        limit_spinning(environment)
        assert environment == {name: "the user's"}


# In place of torch: prints how the threads of the process that imports it would wait, and ends it.
STAND_IN = """
import os
print("spins", os.environ.get("GOMP_SPINCOUNT"), flush=True)
os._exit(0)
"""
NOTEBOOK = json.loads((ROOT / "docs" / "own-photos.ipynb").read_text())
FIRST_CELL = next("".join(c["source"]) for c in NOTEBOOK["cells"] if c["cell_type"] == "code")


# An actor of `captioner caption --ray`, on a node that was started without the limits.
ACTOR = """
from types import SimpleNamespace
from captioner.bulk.parts.ray_pool import PartWriter
PartWriter(SimpleNamespace(current_folder="", recipe=None), 1)._loaded()
"""


@pytest.mark.parametrize(
    "program",
    [
        ["-m", "captioner", "caption", "photo.jpg"],
        ["-m", "captioner", "train", "--data", "data", "--out", "out"],
        ["-m", "captioner", "web", "--port", "0"],
        ["-m", "captioner.web.container", "--port", "0"],
        ["-m", "benchmarks", "search"],
        ["-c", f"{FIRST_CELL}\nimport torch"],
        ["-c", ACTOR],
    ],
    ids=["caption", "train", "web", "container", "benchmarks", "notebook", "ray"],
)
@pytest.mark.parametrize("own", [None, "77"])
def test_programs_limit_spinning_before_torch_is_imported(
    own: str | None, program: list[str], tmp_path: Path, render
) -> None:
    (tmp_path / "torch.py").write_text(STAND_IN)
    (tmp_path / "photo.jpg").write_bytes(render())
    environment = PLAIN | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    done = subprocess.run(
        [sys.executable, *program],
        cwd=tmp_path,
        env=environment | ({"GOMP_SPINCOUNT": own} if own else {}),
        capture_output=True,
        text=True,
    )
    expected = own or SPIN_LIMITS["GOMP_SPINCOUNT"]
    assert f"spins {expected}" in done.stdout.splitlines(), done.stderr


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="torch ships GCC's OpenMP on Linux only")
@pytest.mark.parametrize("own", [None, "77"])
def test_a_command_limits_the_spinning_of_openmp(
    own: str | None, tiny_checkpoint: Path, tmp_path: Path, render
) -> None:
    (tmp_path / "photo.jpg").write_bytes(render())
    arguments = ["caption", "photo.jpg", "--checkpoint", str(tiny_checkpoint)]
    done = subprocess.run(
        [sys.executable, "-m", "captioner", *arguments],
        cwd=tmp_path,
        env=PLAIN
        | {"OMP_DISPLAY_ENV": "verbose", "PYTHONPATH": str(ROOT)}
        | ({} if own is None else {"GOMP_SPINCOUNT": own}),
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"GOMP_SPINCOUNT = '{own or SPIN_LIMITS['GOMP_SPINCOUNT']}'" in done.stderr


# TorchServe leaves a file open when it is imported.
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_server_and_its_workers_have_the_limits(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (WAIT_POLICY, *SPIN_LIMITS):
        monkeypatch.delenv(name, raising=False)
    java, store = tmp_path / "java", Store(tmp_path / "store")
    java.write_text(
        f"#!/bin/sh\nenv > {tmp_path}/new && mv {tmp_path}/new {tmp_path}/seen\nsleep 60\n"
    )
    java.chmod(0o755)
    digest = package(tiny_checkpoint, "1.0", store.folder / "captioner.mar")
    store.write_record(
        StoreRecord("1.0", versions={"1.0": RecordedVersion("captioner.mar", digest)})
    )
    server = Server(tmp_path / "run")
    with server.lock(store) as lock:
        server.start(java, store, Ports.find_free(), lock)
    try:
        process = server.process()
        while process and psutil.pid_exists(process.pid) and not (tmp_path / "seen").exists():
            time.sleep(0.02)
        seen = (tmp_path / "seen").read_text().splitlines()
    finally:
        server.stop()
    assert {f"{name}={value}" for name, value in SPIN_LIMITS.items()} <= set(seen)


def test_importing_leaves_the_environment_as_it_is() -> None:
    code = (
        "import os;"
        " import captioner.cli.main, captioner.threads, captioner.operations.torchserve,"
        " captioner.operations.container, model,"
        " captioner.client, benchmarks.command, benchmarks.busy;"
        f" assert os.environ.keys().isdisjoint({[WAIT_POLICY, *SPIN_LIMITS]})"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=PLAIN, check=True)
