"""The command line of ``captioner train``: a YAML file and overrides make a `TrainingConfig`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from jsonargparse import ArgumentError, ArgumentParser

from training.config import TrainingConfig


class Options(NamedTuple):
    """The parsed command line."""

    config: TrainingConfig
    resume: bool
    overwrite: bool


def parse(arguments: Sequence[str]) -> Options:
    """Read the command line; raises `ValueError` for a bad option."""
    parser = ArgumentParser(
        prog="captioner train",
        description="Train a captioner on prepared data. Options override the file.",
        usage="captioner train [--config FILE] --data DIR --out DIR [--resume] [options]",
        exit_on_error=False,
    )
    parser.add_argument("--config", action="config", help="YAML file, such as training/recipes/*")
    parser.add_argument("--resume", action="store_true", help="Go on from the run's newest state.")
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="Replace the checkpoint at --out, if another training has written one there.",
    )
    parser.add_class_arguments(TrainingConfig)
    # `from` is no name for a field.
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
    return Options(TrainingConfig(**vars(values)), resume, overwrite)
