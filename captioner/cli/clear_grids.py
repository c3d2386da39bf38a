"""The command ``captioner clear-grids``."""

from __future__ import annotations

import argparse
from pathlib import Path

SUMMARY = "Delete stored encoder features that no checkpoint uses."
DESCRIPTION = """\
Delete stored encoder features (grids) that no checkpoint uses.

A training stores the grids of its photos beside the prepared photos. They are
deleted once neither the checkpoint nor the run folder of a training that used
them exists. A later training that needs them computes them again."""
EXAMPLES = """\
  captioner clear-grids DATA
  captioner clear-grids DATA --all"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", type=Path, help="folder that captioner prepare has written")
    parser.add_argument(
        "--all",
        action="store_true",
        help="delete also grids that are used, or of which no user is recorded",
    )


def run(arguments: argparse.Namespace) -> None:
    from training.data.grid_cache import clear
    from training.data.prepared import Prepared

    Prepared.open(arguments.data)  # raises an error unless these are prepared photos
    for line in clear(arguments.data, arguments.all):
        print(line)
