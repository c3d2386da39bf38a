"""Grids of a frozen encoder; of photos that stay as they are, computed once and kept on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import torch

from model.encoder import Encoder
from model.inference.prepared import prepare_encoder
from training.data import grid_cache
from training.data.prepared import Prepared
from training.processes import Processes
from training.reporting.progress import progress

ENCODING_BATCH = 64


class FrozenEncoder:
    """What an encoder computes, folded as for captioning: on a CPU in a third of the time."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = prepare_encoder(encoder, next(encoder.parameters()).dtype)

    @torch.no_grad()
    def __call__(self, photos: torch.Tensor) -> torch.Tensor:
        """As `Encoder.forward`."""
        with torch.autocast(photos.device.type, enabled=False):
            return self._encoder.in_micro_batches(photos)


def cached_grids(
    encoder: Encoder, prepared: Prepared, processes: Processes, users: Sequence[Path] = ()
) -> np.ndarray:
    """The grid of every prepared photo, memory-mapped, float16, shape = (photos, P, D).

    They lie beside the photos under a name that tells the photos, the weights and the grid's size;
    if they are there they are not computed again; of trainings that begin together one computes
    them, the others wait. Each process computes its share.

    Parameters
    ----------
    users
        Folders for which they are kept: `training.data.grid_cache.clear` deletes them once all are
        gone.

    Raises
    ------
    ValueError
        The disk has too little room for them.
    """
    path = prepared.folder / f"grids-{_digest(encoder, prepared)}.npy"
    if not _is_there(path, processes):
        with _alone(path, processes):
            if not _is_there(path, processes):
                _compute(path, encoder, prepared, processes)
    if processes.first and users:
        grid_cache.record_use(path, encoder.name, users)
    cached: np.ndarray = np.load(path, mmap_mode="r")
    return cached


def _is_there(path: Path, processes: Processes) -> bool:
    """As the first process sees it, so that all do the same."""
    return processes.gather(path.exists())[0]


@contextmanager
def _alone(path: Path, processes: Processes) -> Iterator[None]:
    """While no other training is in here; the lock goes with the process, however that ends."""
    with ExitStack() as held:
        if processes.first:
            held.enter_context(grid_cache.lock(path, wait=True))
        processes.wait()
        yield
        processes.wait()


def _compute(path: Path, encoder: Encoder, prepared: Prepared, processes: Processes) -> None:
    new = path.with_suffix(".new")
    frozen = FrozenEncoder(encoder)
    first = _encoded(frozen, prepared.photos[:1], processes)
    shape = (len(prepared.names), *first.shape[1:])

    def make() -> None:
        np.lib.format.open_memmap(new, "w+", np.float16, shape).flush()
        grid_cache.reserve(new, new.stat().st_size)

    processes.in_first(make)
    grids = np.lib.format.open_memmap(new, "r+")
    starts = range(processes.rank * ENCODING_BATCH, shape[0], ENCODING_BATCH * processes.world)
    for start in progress(starts, len(starts), f"encoding {shape[0]} photos"):
        photos = prepared.photos[start : start + ENCODING_BATCH]
        grids[start : start + ENCODING_BATCH] = _encoded(frozen, photos, processes)
    grids.flush()
    processes.wait()
    if processes.first:
        new.replace(path)


def _encoded(encoder: FrozenEncoder, photos: np.ndarray, processes: Processes) -> np.ndarray:
    grid = encoder(torch.from_numpy(np.array(photos)).to(processes.device))
    encoded: np.ndarray = grid.half().cpu().numpy()
    return encoded


def _digest(encoder: Encoder, prepared: Prepared) -> str:
    digest = hashlib.sha256(f"{prepared.digest} {encoder.name} {encoder.pool}".encode())
    for name, tensor in encoder.state_dict().items():
        digest.update(name.encode() + tensor.cpu().numpy().tobytes())
    for constant in (encoder.image_mean, encoder.image_std):
        digest.update(constant.cpu().float().numpy().tobytes())
    return digest.hexdigest()[:16]
