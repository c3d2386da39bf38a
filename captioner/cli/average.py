"""The command ``captioner average``."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from captioner.cli import arguments as shared

SUMMARY = "Write the mean of several checkpoints of the same network."
DESCRIPTION = """\
Write the checkpoint whose weights are the mean of those of several.

Trainings that went on from the same checkpoint with different seeds often have a
mean that is better than each of them and as fast as one. Whether it is, captioner
evaluate tells."""
EXAMPLES = """\
  captioner average checkpoints/seed-1 checkpoints/seed-2 --out checkpoints/mean"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "checkpoints", type=Path, nargs="+", metavar="CHECKPOINT", help="checkpoint folder"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", required=True, help="checkpoint folder to write"
    )
    shared.add_overwrite_argument(parser, "a checkpoint that is there")


def run(arguments: argparse.Namespace) -> None:
    from training.average import average

    command = ["captioner", "average", *map(str, arguments.checkpoints), "--out", arguments.out]
    average(
        arguments.checkpoints,
        arguments.out,
        shlex.join(map(str, command)),
        arguments.overwrite,
    )
    print(arguments.out)
