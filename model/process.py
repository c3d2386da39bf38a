"""Settings that hold for a whole process, for programs that caption photos.

A program calls `set_up_process` where it starts. Nothing here happens when a module is imported or
a captioner is loaded: a process that uses the captioner as a library keeps its own settings.
"""

from __future__ import annotations

import ctypes
import sys
import warnings

# Parameters of mallopt(3), by their names and numbers in malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
MEBIBYTE = 2**20


def set_up_process() -> None:
    """Set what makes captioning fast and quiet: see the two functions that this one calls."""
    ignore_pillow_warnings()
    keep_freed_memory()


def ignore_pillow_warnings() -> None:
    """Silence Pillow, which warns of damage that it reads around and of sizes checked elsewhere.

    The filter is set once for the process: `warnings.catch_warnings` is not safe in the threads
    that decode photos.
    """
    warnings.filterwarnings("ignore", module=r"PIL\.")


def keep_freed_memory() -> None:
    """Have glibc reuse the memory that one layer frees for the next, instead of returning it.

    The system clears every page that it hands out, and a layer's output is thousands of pages: by
    default that sometimes takes longer than the convolutions. Threads share two arenas, because
    each arena keeps the most that it ever had in use. Other C libraries are left alone.
    """
    if sys.platform != "linux":
        return
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(M_TRIM_THRESHOLD, 256 * MEBIBYTE)
        library.mallopt(M_MMAP_THRESHOLD, 32 * MEBIBYTE)  # the largest that glibc allows
        library.mallopt(M_ARENA_MAX, 2)
