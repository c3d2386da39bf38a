"""``captioner caption SOURCE --out FOLDER/ --ray``, on a cluster that begins and ends with it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.ray_nodes import actors
from captioner.bulk.parts import ray_pool
from captioner.bulk.parts.folder import LocalFolder
from captioner.bulk.parts.ray_pool import Pool, PoolOptions
from captioner.bulk.tables import form_of
from tests.captioner.bulk.parts.test_parts_run import rows_of

PHOTOS, SIZE = 90, 10


@pytest.mark.parametrize(
    ("cpus", "gpus", "resources", "room"),
    [
        (1, 0, {"CPU": 2}, 2),
        (2, 0, {"CPU": 7, "GPU": 1}, 3),
        (2, 1, {"CPU": 8, "GPU": 1}, 1),
        (1, 0.5, {"CPU": 8, "GPU": 1}, 2),
        (4, 0, {"CPU": 2}, 0),
        (1, 1, {"CPU": 2}, 0),
    ],
)
def test_the_room_of_a_cluster(
    cpus: float, gpus: float, resources: dict[str, float], room: int
) -> None:
    assert Pool(cpus, gpus, resources).room == room


@pytest.fixture
def joined(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The address that Ray is told to join, ``local`` where it begins a cluster; it has none."""
    addresses: list[str] = []
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.setattr("ray._private.services.find_gcs_addresses", set)
    monkeypatch.setattr("ray.init", lambda address, **_: addresses.append(address))
    monkeypatch.setattr("ray.shutdown", lambda: None)
    monkeypatch.setattr("ray.cluster_resources", lambda: {"CPU": 2})
    return addresses


def open_and_close() -> None:
    with ray_pool.open_pool(None, PoolOptions()):
        pass


def remember(address: str, folder: Path) -> None:
    """Leave what Ray leaves of a cluster whose processes were killed."""
    (folder / "ray").mkdir()
    (folder / "ray" / "ray_current_cluster").write_text(address)


@pytest.fixture
def listening() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def ended() -> str:
    """An address at which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


def test_a_cluster_begins_where_there_is_none(joined: list[str]) -> None:
    open_and_close()
    assert joined == ["local"]


def test_the_cluster_of_this_machine_is_joined(
    joined: list[str], listening: str, tmp_path: Path
) -> None:
    remember(listening, tmp_path)
    open_and_close()
    assert joined == [listening]


def test_whatever_else_listens_is_no_cluster(
    joined: list[str], listening: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray is told to try once; where it begins a cluster itself, it tries as often as it likes."""
    name = "RAY_gcs_server_port_wait_time_s"
    monkeypatch.delenv(name, raising=False)
    attempts: list[str | None] = []

    def init(address: str, **_: object) -> None:
        attempts.append(os.environ.get(name))
        if address != "local":
            raise ConnectionError

    monkeypatch.setattr("ray.init", init)
    message = f"--ray {listening}: no cluster of Ray answers there; the port is"
    with pytest.raises(ValueError, match=message), ray_pool.open_pool(listening, PoolOptions()):
        pass
    open_and_close()
    monkeypatch.setenv(name, "7")
    with pytest.raises(ValueError, match=message), ray_pool.open_pool(listening, PoolOptions()):
        pass
    assert attempts == ["1", None, "7"]
    assert os.environ[name] == "7"


def test_a_cluster_that_was_killed_is_not_waited_for(
    joined: list[str], ended: str, tmp_path: Path
) -> None:
    remember(ended, tmp_path)
    open_and_close()
    assert joined == ["local"]


def test_a_head_that_does_not_answer_is_an_error(
    joined: list[str], ended: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as now:
        now.setattr("ray._private.services.find_gcs_addresses", lambda: {ended})
        with pytest.raises(ValueError, match=f"this machine belongs to: --ray {ended}: no cluster"):
            open_and_close()
    with monkeypatch.context() as now:
        now.setenv("RAY_ADDRESS", ended)
        with pytest.raises(ValueError, match=f"this machine belongs to: --ray {ended}: no cluster"):
            open_and_close()
        now.setenv("RAY_ADDRESS", "ray://somewhere:1")
        with pytest.raises(ValueError, match="is HOST:PORT"):
            open_and_close()
    assert joined == []


def test_the_environment_may_ask_for_a_new_cluster(
    joined: list[str], listening: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remember(listening, tmp_path)
    monkeypatch.setenv("RAY_ADDRESS", "local")
    open_and_close()
    assert joined == ["local"]


def test_a_ray_that_does_not_start_is_one_error(
    joined: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(address: str, **_: object) -> None:
        raise Exception("the node timed out")

    monkeypatch.setattr("ray.init", fail)
    message = "Ray cannot be started on this machine: the node timed out"
    with pytest.raises(RuntimeError, match=message):
        open_and_close()


@pytest.fixture
def folder(tmp_path: Path, render) -> Path:
    """A folder of photos, some of which are none."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(PHOTOS):
        color, shape = ("red", "green", "blue")[i % 3], ("circle", "square")[i % 2]
        content = b"no photo" if i % 9 == 4 else render(color, shape, (40 + i, 30 + i // 2))
        (folder / f"{i:03}.jpg").write_bytes(content)
    return folder


@pytest.mark.slow
def test_killed_actors_lose_no_row_and_write_none_twice(
    folder: Path, tmp_path: Path, tiny_checkpoint: Path
) -> None:
    one, many = tmp_path / "one.parquet", tmp_path / "many"
    caption = [sys.executable, "-m", "captioner", "caption", "photos"]
    caption += ["--checkpoint", str(tiny_checkpoint), "--device", "cpu"]
    # An actor has a thread; another number of threads may round the last digit differently.
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([*caption, "--out", str(one)], cwd=tmp_path, env=one_thread)
    assert done.returncode == 1
    command = subprocess.Popen(
        [*caption, "--out", "many/", "--part-size", str(SIZE), "--ray"],
        cwd=tmp_path,  # the paths are relative, also for the actors
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    killed = 0
    while command.poll() is None and killed < 2:
        if len(list(many.glob("part-*"))) > 2 * killed and (found := actors(command)):
            found[0].kill()
            killed += 1
        time.sleep(0.01)
    out, err = command.communicate()
    assert command.returncode == 1, err
    assert err.splitlines()[-1].endswith("could not be captioned; the column error says why")
    assert out.splitlines()[-1].startswith("many: 90 photos, ")
    assert killed
    seen = LocalFolder(many).names()  # a killed one may leave a hidden file
    assert sorted(seen) == [*(f"part-{n:05}.parquet" for n in range(PHOTOS // SIZE)), "run.json"]
    assert rows_of(many) == list(form_of(one).read(one))
