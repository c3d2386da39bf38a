"""The grids of prepared photos that a frozen encoder computes: once, and then kept on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import torch

from model.encoder import Encoder
from training.data import grid_cache
from training.data.prepared import Prepared
from training.network.encoders import FrozenEncoder
from training.processes import Processes
from training.reporting.progress import progress

ENCODING_BATCH = 64  # photos


def cached_grids(
    encoder: Encoder, prepared: Prepared, processes: Processes, users: Sequence[Path] = ()
) -> np.ndarray:
    """Return the grid of every prepared photo, memory-mapped, float16, shape = (N, P, D).

    They lie beside the photos under a name that follows from the photos, the weights and the size
    of the grid. If they are there, they are not computed again; of trainings that begin together
    one computes them and the others wait. Each process computes its share.

    Parameters
    ----------
    users
        Folders of the training that uses them: `training.data.grid_cache.clear` deletes grids once
        all of their users are gone.

    Raises
    ------
    ValueError
        The disk has too little room for them.
    """
    path = _path(encoder, prepared)
    if not _exists(path, processes):
        with _exclusive(path, processes):
            if not _exists(path, processes):
                _compute(path, encoder, prepared, processes)
    if processes.first and users:
        grid_cache.record_use(path, encoder.name, users)
    cached: np.ndarray = np.load(path, mmap_mode="r")
    return cached


class PhotoGrids:
    """The grids of prepared photos, in float16: read where they are cached, else computed.

    Nothing is written. A cache that is deleted meanwhile goes on being read.
    """

    def __init__(self, encoder: Encoder, prepared: Prepared, device: torch.device) -> None:
        self._prepared = prepared
        self._processes = Processes(0, 1, device)
        path = _path(encoder, prepared)
        self._cached: np.ndarray | None = np.load(path, mmap_mode="r") if path.exists() else None
        self._encoder = FrozenEncoder(encoder)

    def of_rows(self, rows: Sequence[int]) -> torch.Tensor:
        """Return the grids of some photos, on the CPU, shape = (B, P, D)."""
        if self._cached is not None:
            return torch.from_numpy(self._cached[rows])
        pixels = self._prepared.pixels[rows]
        return torch.from_numpy(_encoded(self._encoder, pixels, self._processes))


def _path(encoder: Encoder, prepared: Prepared) -> Path:
    return prepared.folder / f"grids-{_digest(encoder, prepared)}.npy"


def _exists(path: Path, processes: Processes) -> bool:
    """Return whether the first process sees the file, so that all processes do the same."""
    return processes.gather(path.exists())[0]


@contextmanager
def _exclusive(path: Path, processes: Processes) -> Iterator[None]:
    """Keep other trainings out; the lock goes with the process, however that ends."""
    with ExitStack() as held:
        if processes.first:
            held.enter_context(grid_cache.lock(path, wait=True))
        processes.wait()
        yield
        processes.wait()


def _compute(path: Path, encoder: Encoder, prepared: Prepared, processes: Processes) -> None:
    new = path.with_suffix(".new")
    frozen = FrozenEncoder(encoder)
    first = _encoded(frozen, prepared.pixels[:1], processes)
    shape = (len(prepared.photos), *first.shape[1:])

    def make() -> None:
        np.lib.format.open_memmap(new, "w+", np.float16, shape).flush()
        grid_cache.reserve(new, new.stat().st_size)

    processes.in_first(make)
    grids = np.lib.format.open_memmap(new, "r+")
    starts = range(processes.rank * ENCODING_BATCH, shape[0], ENCODING_BATCH * processes.world)
    for start in progress(starts, len(starts), f"encoding {shape[0]} photos"):
        pixels = prepared.pixels[start : start + ENCODING_BATCH]
        grids[start : start + ENCODING_BATCH] = _encoded(frozen, pixels, processes)
    grids.flush()
    processes.wait()
    if processes.first:
        new.replace(path)


def _encoded(encoder: FrozenEncoder, pixels: np.ndarray, processes: Processes) -> np.ndarray:
    grid = encoder(torch.from_numpy(np.array(pixels)).to(processes.device))
    encoded: np.ndarray = grid.half().cpu().numpy()
    return encoded


def _digest(encoder: Encoder, prepared: Prepared) -> str:
    digest = hashlib.sha256(f"{prepared.digest} {encoder.name} {encoder.pool}".encode())
    for name, tensor in encoder.state_dict().items():
        digest.update(name.encode() + tensor.cpu().numpy().tobytes())
    for constant in (encoder.image_mean, encoder.image_std):
        digest.update(constant.cpu().float().numpy().tobytes())
    return digest.hexdigest()[:16]
