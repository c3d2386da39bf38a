"""A node of Ray that is lost while it is at a part, in a cluster of two nodes on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchmarks.machines import two_machines
from benchmarks.ray_nodes import cluster_environment, ray_node
from captioner.bulk.parts.ray_pool import EngineRecipe, PoolOptions, RayJob, open_pool
from captioner.bulk.parts.run import RUN_FILE, part_name
from captioner.bulk.parts.share import Share
from captioner.bulk.photo import Photo
from captioner.bulk.reading import Content
from captioner.bulk.row import Row, RowOptions
from model import DecodingOptions
from tests.captioner.bulk.fakes import EchoEngine, photos
from tests.captioner.bulk.parts.test_parts_run import ROOT, expected, names, rows_of, run_of

PHOTOS, SIZE = 100, 10
SECONDS = 900  # until a step of the test has failed; each takes a few on a quiet machine
LOST = "NODE_THAT_IS_LOST"  # set in the environment of that node's processes


@dataclass
class GatedEngine(EchoEngine):
    """Captions once the node that is to be lost is at a part, where it stays for ever."""

    begun: Path = Path()

    def rows(self, photos: Iterable[tuple[Photo, Content]]) -> Iterator[Row]:
        if LOST in os.environ:
            self.begun.touch()
            threading.Event().wait()
        wait_for(self.begun.exists)
        yield from super().rows(photos)


@dataclass(frozen=True)
class GatedRecipe(EngineRecipe):
    begun: Path = Path()

    def load(self) -> Any:
        return GatedEngine(begun=self.begun)


WRITE = """
import sys
from tests.captioner.bulk.parts.test_ray_node import write
write(*sys.argv[1:])
"""


def write(out: str, begun: str, address: str) -> None:
    """Write all parts on a cluster that loses a node; run in a process of its own."""
    import ray  # here, because it takes seconds

    run = run_of(out, photos(PHOTOS), SIZE)
    run.begin()
    decoding, options = DecodingOptions(), RowOptions()
    recipe = GatedRecipe(Path(), None, "cpu", "auto", decoding, options, Path(begun))
    job = RayJob(photos(PHOTOS), out, run.settings, run.division, recipe, str(ROOT))
    with open_pool(address, PoolOptions()) as pool:
        assert pool.room == 2  # one on each node
        for _ in pool.write(job, run.missing(Share())):
            pass
        assert sorted(node["Alive"] for node in ray.nodes()) == [False, True]


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str] | None = None) -> None:
    """Wait until something is so, while a process runs."""
    end = time.monotonic() + SECONDS
    while not condition():
        assert process is None or process.poll() is None, process.args
        assert time.monotonic() < end
        time.sleep(0.05)


def parts(out: Path) -> dict[str, int]:
    """Return the parts that are there, with what tells a file from another of its name."""
    return {path.name: path.stat().st_ino for path in out.glob("part-*")}


@pytest.mark.slow
def test_a_lost_node_loses_no_row_and_none_is_written_twice(tmp_path: Path) -> None:
    out, begun = tmp_path / "out", tmp_path / "begun"
    environment = cluster_environment()
    lost = environment | {LOST: "yes"}
    with (
        two_machines() as (one, two),
        ray_node(one, environment) as head,
        ray_node(two, lost, head) as second,
    ):
        command = [*one.enter, sys.executable, "-c", WRITE, out, begun, head.address]
        driver = subprocess.Popen(list(map(str, command)), env=environment, cwd=ROOT, text=True)
        try:
            wait_for(begun.exists, driver)
            wait_for(lambda: bool(parts(out)), driver)
            before = parts(out)
            second.lose()
            assert driver.wait(SECONDS) == 0
        finally:
            driver.kill()
            driver.wait()
    after = parts(out)
    assert before.items() < after.items()
    assert names(out) == [*map(part_name, range(PHOTOS // SIZE)), RUN_FILE]
    assert rows_of(out) == expected(out, PHOTOS)
