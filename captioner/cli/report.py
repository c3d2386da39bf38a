"""The command ``captioner report``."""

from __future__ import annotations

import argparse
from pathlib import Path

from captioner.cli import arguments as shared

SUMMARY = "Draw the curves of a training."
DESCRIPTION = """\
Draw the curves of a training over its epochs: loss, reward, validation scores and
learning rates. Several trainings, each started from the one before, are drawn one
after the other."""
EXAMPLES = """\
  captioner report CHECKPOINT.run/metrics.jsonl --out curves.png
  captioner report FIRST.run/metrics.jsonl SECOND.run/metrics.jsonl --out curves.png"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "metrics",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="metrics.jsonl of each training, in their order",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", required=True, help="picture to draw (.png)"
    )
    shared.add_overwrite_argument(parser, "the picture at --out if there is one")


def run(arguments: argparse.Namespace) -> None:
    from model.files import check_new
    from training.reporting.report import read_rows, write_report

    shared.check_picture_name(arguments.out)
    check_new(arguments.out, arguments.overwrite)
    write_report(read_rows(arguments.metrics), arguments.out)
    print(arguments.out)
