"""The arguments of ``captioner train``: a YAML file and options make a `TrainingConfig`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import NamedTuple

from jsonargparse import ArgumentError, ArgumentParser, DefaultHelpFormatter

from training.config import TrainingConfig

DESCRIPTION = """\
Train a captioner on prepared photos and write its checkpoint folder.

The options below may also stand in the YAML file of --config; an option that
follows --config overrides the file."""
EXAMPLES = """\
examples:
  captioner train --config training/recipes/lite1.yaml --data DATA --out CHECKPOINT
  captioner train --config training/recipes/lite1.yaml --data DATA --out CHECKPOINT --resume
  captioner train --data DATA --out NEW --from CHECKPOINT --decoder.epochs 5
  captioner train --data data/flickr8k --data data/coco=2 --out CHECKPOINT
  captioner train --data TAUGHT --data MORE --distillation 0.5 --out STUDENT"""
REPEATABLE = ("--data", "--notice")  # options that may be given several times, once a folder


class TrainArguments(NamedTuple):
    """The parsed command line."""

    config: TrainingConfig
    resume: bool
    overwrite: bool


def parse_arguments(arguments: Sequence[str]) -> TrainArguments:
    """Parse the arguments after ``captioner train``; raises `ValueError` for a wrong one."""
    parser = _parser()
    arguments = _with_lists(arguments)
    # The option --from sets the field start_from: `from` cannot be the name of a field.
    renamed = ["--start_from" + a[6:] if a.split("=")[0] == "--from" else a for a in arguments]
    try:
        values = parser.instantiate(parser.parse_args(renamed))
    except ArgumentError as error:
        raise ValueError(f"{error}; see captioner train --help") from error
    except UnicodeDecodeError as error:
        raise ValueError(
            "the file of --config is no text; name a YAML file, such as training/recipes/lite1.yaml"
        ) from error
    values.pop("config")
    resume, overwrite = bool(values.pop("resume")), bool(values.pop("overwrite"))
    return TrainArguments(TrainingConfig(**vars(values)), resume, overwrite)


def _with_lists(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with the values of a repeated option as one list.

    The parser would take the last value alone.
    """
    kept, values = list(arguments), {}
    for option in REPEATABLE:
        others, found = _without(option, kept)
        if len(found) > 1:
            kept, values[option] = others, found
    return [*kept, *(f"{option}={json.dumps(found)}" for option, found in values.items())]


def _without(option: str, arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the arguments without an option, and the values that the option has in them."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument(option, action="append", default=[], dest="values")
    try:
        found, others = parser.parse_known_args(arguments)
    except argparse.ArgumentError:  # no value: the parser of all options says so
        return list(arguments), []
    return others, found.values


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="captioner train",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=_HelpFormatter,
        usage="captioner train [--config FILE] --data DIR... --out DIR [--resume] [options]",
        exit_on_error=False,
    )
    parser.add_argument("--config", action="config", help="YAML file, such as training/recipes/*")
    parser.add_argument(
        "--resume", action="store_true", help="Continue from the newest state of the run."
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="Replace the checkpoint at --out, if another training has written one there.",
    )
    parser.add_class_arguments(TrainingConfig)
    return parser


class _HelpFormatter(argparse.RawDescriptionHelpFormatter, DefaultHelpFormatter):
    """A formatter that shows types and defaults, and keeps the lines of the examples."""
