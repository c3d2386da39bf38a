"""Grids of a frozen encoder; of photos that stay as they are, computed once and kept on disk."""

from __future__ import annotations

import copy
import fcntl
import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np
import torch

from model.captioner import ENCODER_BATCH
from model.encoder import Encoder
from training.prepared import Prepared
from training.processes import Processes
from training.progress import progress

ENCODING_BATCH = 64


class FrozenEncoder:
    """What an encoder computes, folded as for captioning: on a CPU in a third of the time."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = copy.deepcopy(encoder).eval().requires_grad_(False)
        self._encoder.prepare(next(encoder.parameters()).dtype)

    @torch.no_grad()
    def __call__(self, photos: torch.Tensor) -> torch.Tensor:
        """As `Encoder.forward`."""
        with torch.autocast(photos.device.type, enabled=False):
            return self._encoder.in_parts(photos, ENCODER_BATCH)


def cached_grids(encoder: Encoder, prepared: Prepared, processes: Processes) -> np.ndarray:
    """The grid of every prepared photo, memory-mapped, float16, shape = (photos, P, D).

    They lie beside the photos under a name that tells the photos, the weights and the grid's size;
    if they are there they are not computed again; of trainings that begin together one computes
    them, the others wait. Each process computes its share.
    """
    path = prepared.folder / f"grids-{_digest(encoder, prepared)}.npy"
    if not _is_there(path, processes):
        with _alone(path.with_suffix(".lock"), processes):
            if not _is_there(path, processes):
                _compute(path, encoder, prepared, processes)
    cached: np.ndarray = np.load(path, mmap_mode="r")
    return cached


def _is_there(path: Path, processes: Processes) -> bool:
    """As the first process sees it, so that all do the same."""
    return processes.gather(path.exists())[0]


@contextmanager
def _alone(lock: Path, processes: Processes) -> Iterator[None]:
    """While no other training is in here; the lock goes with the process, however that ends."""
    with ExitStack() as held:
        if processes.first:
            file = held.enter_context(lock.open("w"))
            with suppress(OSError):  # of file systems that know no locks
                fcntl.flock(file, fcntl.LOCK_EX)
        processes.wait()
        yield
        processes.wait()


def _compute(path: Path, encoder: Encoder, prepared: Prepared, processes: Processes) -> None:
    new = path.with_suffix(".new")
    frozen = FrozenEncoder(encoder)
    first = _encoded(frozen, prepared.photos[:1], processes)
    shape = (len(prepared.names), *first.shape[1:])
    if processes.first:
        np.lib.format.open_memmap(new, "w+", np.float16, shape).flush()
    processes.wait()
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
