"""The command ``captioner teach``."""

from __future__ import annotations

import argparse
from pathlib import Path

from captioner.cli import arguments as shared

SUMMARY = "Write what trained captioners teach about prepared photos."
DESCRIPTION = """\
Write what trained captioners teach about prepared photos.

For photos that nobody has captioned, the teachers together find captions. For
every training caption they say which words they hold likely at each place.
captioner train learns from that with --distillation, and from photos without
captions always. What is written is one file in the folder of the photos."""
EXAMPLES = """\
  captioner teach DATA --teacher FIRST --teacher SECOND
  captioner teach MORE --teacher FIRST --teacher SECOND --captions 3"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", type=Path, help="folder that captioner prepare has written")
    parser.add_argument(
        "--teacher",
        type=Path,
        action="append",
        metavar="CHECKPOINT",
        required=True,
        help="checkpoint folder of a teacher; give the option for each",
    )
    parser.add_argument(
        "--captions",
        type=int,
        metavar="N",
        default=5,
        help="captions to find for a photo that nobody has captioned (default: %(default)s)",
    )
    parser.add_argument(
        "--words",
        type=int,
        metavar="K",
        default=16,
        help="likely words to keep for each place of a caption (default: %(default)s)",
    )
    shared.add_overwrite_argument(
        parser, "what other teachers have taught, or the same with other options"
    )
    shared.add_device_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    from training.distillation.teaching import teach

    taught = teach(
        arguments.data,
        arguments.teacher,
        captions=arguments.captions,
        words=arguments.words,
        device=arguments.device,
        precision=arguments.precision,
        overwrite=arguments.overwrite,
    )
    print(f"{arguments.data}: {taught}")
