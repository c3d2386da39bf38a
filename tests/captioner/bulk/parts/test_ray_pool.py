"""``captioner caption SOURCE --out FOLDER/ --ray``, on a cluster that begins and ends with it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
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


def test_a_ray_that_does_not_start_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Ray:
        def init(self, address: str, **_: object) -> None:
            raise ConnectionError if address == "auto" else Exception("the node timed out")

        def shutdown(self) -> None:
            pass

    monkeypatch.setattr(ray_pool, "_module", lambda name: Ray())
    monkeypatch.setattr(os, "environ", dict(os.environ))
    message = "Ray cannot be started on this machine: the node timed out"
    with pytest.raises(RuntimeError, match=message), ray_pool.open_pool(None, PoolOptions()):
        pass


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
