"""The command ``captioner bench``, whose arguments and work are in the package `benchmarks`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

SUMMARY = "Measure speed, memory and agreement against a baseline."

# The package `benchmarks` is not installed. In a checkout it lies beside this package.
CHECKOUT = Path(__file__).resolve().parents[2]


def run(arguments: argparse.Namespace) -> None:
    if not (CHECKOUT / "benchmarks" / "command.py").is_file():
        raise ValueError(
            "captioner bench needs a checkout of the captioner, because the benchmarks are not"
            " installed with it: clone its repository, run scripts/bootstrap there, then"
            " .venv/bin/captioner bench"
        )
    # First, so that no other package of that name is found; for new processes, too.
    sys.path.insert(0, str(CHECKOUT))
    others = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(CHECKOUT), *([others] if others else [])])
    from benchmarks import command

    command.main(arguments.rest)
