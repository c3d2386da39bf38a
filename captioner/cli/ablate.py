"""The command ``captioner ablate``."""

from __future__ import annotations

import argparse
from pathlib import Path

SUMMARY = "Train variants of a recipe with several seeds and compare their scores."
DESCRIPTION = """\
Train variants of a recipe with several seeds and print their scores in one table.

Trainings that are finished are not repeated, and interrupted ones are continued."""
EXAMPLES = """\
  captioner ablate training/recipes/ablations-decoder.yaml --data DATA --out ABLATIONS"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "plan", type=Path, help="YAML file of variants and seeds: training/recipes/ablations-*.yaml"
    )
    parser.add_argument(
        "--data", type=Path, metavar="FOLDER", required=True, help="prepared photos"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", required=True, help="folder for all the trainings"
    )


def run(arguments: argparse.Namespace) -> None:
    from training.ablation import ablate

    print(ablate(arguments.plan, arguments.data, arguments.out))
