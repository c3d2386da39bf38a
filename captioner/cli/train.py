"""The command ``captioner train``, whose arguments are the fields of a training's configuration."""

from __future__ import annotations

import argparse
import os
import shlex

from captioner.cli.messages import print_error

SUMMARY = "Train a captioner and write its checkpoint folder."


def run(arguments: argparse.Namespace) -> int:
    from training.options import parse_arguments

    config, resume, overwrite = parse_arguments(arguments.rest)  # --help ends here, without torch
    from training.train import TrainingStopped, train

    command = shlex.join(["captioner", "train", *arguments.rest])
    try:
        scores = train(config, resume, command, overwrite)
    except TrainingStopped as stopped:
        print_error(str(stopped))
        return 128 + stopped.number
    if os.environ.get("RANK", "0") == "0":  # torchrun starts several processes; the first prints
        figures = "  ".join(f"{name} {value:.4f}" for name, value in scores.items())
        print(f"{config.out}: {figures}")
    return 0
