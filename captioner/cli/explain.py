"""The command ``captioner explain``."""

from __future__ import annotations

import argparse
from pathlib import Path

from captioner.cli import arguments as shared
from captioner.photo_files import read_photo

SUMMARY = "Show where the captioner looked for each word of a caption."
DESCRIPTION = """\
Show where the captioner looked for each word of a caption, as a picture with one
attention map for each word, or as figures in JSON."""
EXAMPLES = """\
  captioner explain photo.jpg -o attention.png
  captioner explain photo.jpg -o attention.json --checkpoint CHECKPOINT
  captioner explain photo.jpg -o attention.png --blocky --overwrite"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", type=Path, metavar="IMAGE", help="image file")
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        metavar="FILE",
        required=True,
        help="picture (.png) or figures (.json) to write",
    )
    shared.add_checkpoint_argument(parser)
    parser.add_argument(
        "--blocky",
        action="store_true",
        help="draw the cells of the attention map as they are, not smoothed",
    )
    shared.add_overwrite_argument(parser, "the file at --out if there is one")
    shared.add_decoding_arguments(parser, "num_captions")
    shared.add_device_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    from captioner.explanation import check_ending, save_explanation
    from model import InvalidImage
    from model.files import check_new

    check_ending(arguments.out)
    check_new(arguments.out, arguments.overwrite)
    photo = read_photo(arguments.image)
    captioner = shared.load_captioner(arguments)
    try:
        caption = captioner.caption([photo], shared.decoding_options(arguments))[0][0]
    except InvalidImage as error:
        raise ValueError(f"{arguments.image}: {error.__cause__}") from error
    save_explanation(arguments.out, photo, caption, smooth=not arguments.blocky)
    print(f"{arguments.out}: {caption.text}")
