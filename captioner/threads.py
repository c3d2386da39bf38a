"""How the threads of a process wait for one another; to be set before torch is imported."""

from __future__ import annotations

from collections.abc import MutableMapping

# Torch computes on OpenMP's threads. Those that wait for work look for it again and again before
# they sleep, here for some microseconds instead of milliseconds: where other processes want the
# cores, every product of a captioner would otherwise wait for threads that wait. `captioner bench
# threads` measures what this brings and costs.
WAITING = {
    "GOMP_SPINCOUNT": "1000",  # GCC's OpenMP, which torch for Linux brings along: looks
    "KMP_BLOCKTIME": "0",  # LLVM's and Intel's, of macOS and some distributions: milliseconds
}
POLICY = "OMP_WAIT_POLICY"


def limit_spinning(environment: MutableMapping[str, str]) -> None:
    """Set how threads wait, unless the user has, for processes that start with this environment.

    OpenMP reads it when it is loaded: for the process itself that is when torch is imported.
    """
    if environment.keys().isdisjoint({POLICY, *WAITING}):
        environment.update(WAITING)
