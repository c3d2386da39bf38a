"""The process of a worker: how it is set up, and when it must end."""

from __future__ import annotations

import logging
import os

import torch
from PIL import Image

from model.process import set_up_process

logger = logging.getLogger(__name__)

# Pillow's default blocks of 16 MiB stay with glibc, for every thread that has ever decoded a photo:
# 1 GiB was seen. Blocks of over 32 MiB always go back to the system.
PILLOW_BLOCK_SIZE = 64 * 2**20  # bytes


def set_up_worker() -> None:
    """Set what makes captioning fast and quiet, and return the memory of decoded photos."""
    set_up_process()
    Image.core.set_block_size(PILLOW_BLOCK_SIZE)  # type: ignore[attr-defined]


def is_fatal(error: Exception) -> bool:
    """Whether an error leaves a GPU that this process cannot use again; lack of memory does not."""
    if not isinstance(error, RuntimeError) or isinstance(error, torch.OutOfMemoryError):
        return False
    return isinstance(error, torch.AcceleratorError) or "CUDA error" in str(error)


def end_worker() -> None:
    """End this process, in which no GPU computes any more; the server starts another worker."""
    logger.critical("the GPU has failed, ending this worker", exc_info=True)
    logging.shutdown()
    os._exit(1)
