"""The command ``captioner import-tutorial``."""

from __future__ import annotations

import argparse
from pathlib import Path

from captioner.cli import arguments as shared

SUMMARY = "Convert a checkpoint of the image-captioning tutorial."
DESCRIPTION = """\
Convert a checkpoint of the image-captioning tutorial (a-PyTorch-Tutorial-to-Image-
Captioning) into a checkpoint folder. None of the code in the file is run."""
EXAMPLES = """\
  captioner import-tutorial BEST_checkpoint_coco.pth.tar WORDMAP_coco.json --out CHECKPOINT"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("weights", type=Path, help="file such as BEST_checkpoint_....pth.tar")
    parser.add_argument("word_map", type=Path, help="file such as WORDMAP_....json")
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", required=True, help="checkpoint folder to write"
    )
    shared.add_overwrite_argument(parser, "the checkpoint at --out if there is one")


def run(arguments: argparse.Namespace) -> None:
    from captioner.tutorial.convert import import_tutorial

    import_tutorial(arguments.weights, arguments.word_map, arguments.out, arguments.overwrite)
    print(arguments.out)
