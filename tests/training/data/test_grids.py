"""Grids of prepared photos: computed once, kept, cleared."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model.network import ShowAttendTell
from tests.training.batching import CPU
from training.data import grid_cache, grids
from training.data.grids import cached_grids
from training.data.prepared import Prepared


def test_grids_are_computed_once(
    prepared: Prepared, network: ShowAttendTell, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = cached_grids(network.encoder, prepared, CPU)
    with torch.no_grad():
        direct = network.encoder(torch.from_numpy(np.array(prepared.pixels)))
    assert cached.dtype == np.float16
    torch.testing.assert_close(
        torch.from_numpy(np.array(cached)).float(), direct, atol=2e-3, rtol=2e-3
    )

    monkeypatch.setattr(network.encoder, "forward", lambda photos: pytest.fail("encoded again"))
    assert np.array_equal(cached_grids(network.encoder, prepared, CPU), cached)
    monkeypatch.undo()
    with torch.no_grad():
        network.encoder.backbone.conv_stem.weight.mul_(1.5)
    assert not np.array_equal(cached_grids(network.encoder, prepared, CPU), cached)
    assert len(list(prepared.folder.glob("grids-*.npy"))) == 2
    assert not list(prepared.folder.glob("*.new"))


def test_trainings_that_begin_together_encode_once(
    prepared: Prepared, network: ShowAttendTell, monkeypatch: pytest.MonkeyPatch
) -> None:
    came = threading.Semaphore(0)
    computed = []
    compute, exclusive = grids._compute, grids._exclusive

    def watched(path: Path, *arguments: Any) -> None:
        for _ in range(2):  # both have seen that there are no grids
            assert came.acquire(timeout=60)
        computed.append(path)
        compute(path, *arguments)

    def counted(*arguments: Any) -> Any:
        came.release()
        return exclusive(*arguments)

    def begin() -> np.ndarray:
        return np.array(cached_grids(network.encoder, prepared, CPU))

    monkeypatch.setattr(grids, "_compute", watched)
    monkeypatch.setattr(grids, "_exclusive", counted)
    with ThreadPoolExecutor(2) as pool:
        one, two = (future.result() for future in [pool.submit(begin) for _ in range(2)])
    assert len(computed) == 1
    assert np.array_equal(one, two)


def test_grids_that_do_not_fit_the_disk_are_refused_before_they_are_computed(
    prepared: Prepared, network: ShowAttendTell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mapped over a full disk, writing them would end the process by SIGBUS."""
    usage = shutil.disk_usage(prepared.folder)
    monkeypatch.setattr(
        "training.data.grid_cache.shutil.disk_usage", lambda path: usage._replace(free=10)
    )
    with pytest.raises(ValueError, match=r"take [\d,]+ bytes, 10 are free.*captioner clear-grids"):
        cached_grids(network.encoder, prepared, CPU)
    monkeypatch.undo()

    def full(*arguments: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)  # another process was faster
    with pytest.raises(ValueError, match="captioner clear-grids"):
        cached_grids(network.encoder, prepared, CPU)
    assert not list(prepared.folder.glob("grids-*.n*"))


def test_the_disk_space_of_grids_is_reserved_first(
    prepared: Prepared, network: ShowAttendTell, monkeypatch: pytest.MonkeyPatch
) -> None:
    reserved: list[bool] = []
    encoded = grids._encoded

    def watched(*arguments: Any) -> np.ndarray:
        for path in prepared.folder.glob("grids-*.new"):
            status = path.stat()
            reserved.append(status.st_blocks * 512 >= status.st_size)
        return encoded(*arguments)

    monkeypatch.setattr(grids, "_encoded", watched)
    cached_grids(network.encoder, prepared, CPU)
    assert reserved
    assert all(reserved)


def test_grids_that_no_checkpoint_uses_are_cleared(
    prepared: Prepared, network: ShowAttendTell, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    gone, run = tmp_path / "gone", tmp_path / "gone.run"
    run.mkdir()
    (run / "state-0-0001-000001.pt").touch()
    for users in ([gone, run], [tiny_checkpoint], []):
        cached_grids(network.encoder, prepared, CPU, users)
        with torch.no_grad():
            network.encoder.backbone.conv_stem.weight.mul_(1.5)
    cached_grids(network.encoder, prepared, CPU, [gone])  # of another encoder

    def left() -> list[tuple[Path, ...]]:
        caches = [grid_cache.GridCache.read(path) for path in prepared.folder.glob("grids-*.npy")]
        return sorted(cache.users for cache in caches)

    assert len(left()) == 4
    lines = list(grid_cache.clear(prepared.folder))
    assert [line.split()[0] for line in lines].count("deleted") == 1  # resuming needs the first
    (run / "state-0-0001-000001.pt").unlink()
    (prepared.folder / "grids-0123456789abcdef.new").touch()  # of a training that was killed
    lines = list(grid_cache.clear(prepared.folder))
    assert [line.split()[0] for line in lines].count("deleted") == 2
    assert any(str(tiny_checkpoint) in line and "test_efficientnet" in line for line in lines)
    assert left() == sorted([(tiny_checkpoint,), ()])
    list(grid_cache.clear(prepared.folder, everything=True))
    assert not list(prepared.folder.glob("grids-*.[!l]*"))


def test_grids_that_are_being_computed_stay(prepared: Prepared) -> None:
    path = prepared.folder / "grids-0123456789abcdef.new"
    path.touch()
    with grid_cache.lock(path, wait=True):
        first, _ = grid_cache.clear(prepared.folder, everything=True)
    assert "is being computed" in first
    assert path.exists()
