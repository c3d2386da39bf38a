"""The command ``captioner sample-photo``."""

from __future__ import annotations

import argparse
from pathlib import Path

from captioner.cli import arguments as shared

SUMMARY = "Write a photo for a first try."
DESCRIPTION = """\
Write a photo for a first try, the one that scripts/serve captions: a man behind a
camera, CC0, from the package PyWavelets."""
EXAMPLES = """\
  captioner sample-photo photo.png
  captioner sample-photo photo.png --overwrite"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", type=Path, metavar="FILE", help="photo to write (.png)")
    shared.add_overwrite_argument(parser, "the file if there is one")


def run(arguments: argparse.Namespace) -> None:
    from captioner.sample_photo import sample_photo
    from model.files import check_new, write_whole

    if arguments.out.suffix.lower() != ".png":
        raise ValueError(f"{arguments.out}: the name must end in .png")
    check_new(arguments.out, arguments.overwrite)
    write_whole(arguments.out, sample_photo().content)
    print(arguments.out)
