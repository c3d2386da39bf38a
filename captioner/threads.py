"""How the threads of a process wait for work, set by variables that OpenMP reads as it is loaded.

Torch computes on OpenMP's threads, and importing torch loads OpenMP. A thread that waits for work
first spins: it looks for work again and again without giving up its core. By default it spins for
milliseconds. Where other processes want the cores, every product of a captioner then waits for
threads that only wait. Here threads spin for some microseconds and then sleep. ``captioner bench
busy`` measures what that gains and costs.
"""

from __future__ import annotations

from collections.abc import MutableMapping

# The variables that limit spinning, one for each OpenMP, and their values.
SPIN_LIMITS = {
    "GOMP_SPINCOUNT": "1000",  # GCC's, which torch for Linux ships: rounds of the loop that spins
    "KMP_BLOCKTIME": "0",  # LLVM's and Intel's, on macOS and some distributions: milliseconds
}
WAIT_POLICY = "OMP_WAIT_POLICY"  # the variable of every OpenMP by which a user chooses


def limit_spinning(environment: MutableMapping[str, str]) -> None:
    """Add `SPIN_LIMITS` to an environment, unless its user has chosen how threads wait.

    It takes effect in processes that start with this environment, and in this process itself if
    ``os.environ`` is given before torch is imported.
    """
    if environment.keys().isdisjoint({WAIT_POLICY, *SPIN_LIMITS}):
        environment.update(SPIN_LIMITS)
