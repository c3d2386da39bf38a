"""The command ``captioner prepare``."""

from __future__ import annotations

import argparse
from pathlib import Path

from captioner.cli import arguments as shared

SUMMARY = "Decode captioned photos once, into a folder to train on."
DESCRIPTION = """\
Decode captioned photos once, into a folder to train on.

With --uncaptioned the photos have no captions: other captioners write them,
with captioner teach."""
EXAMPLES = """\
  captioner prepare flickr8k --out DATA
  captioner prepare my_photos --out DATA --image-size 240 --val-share 0.2
  captioner prepare coco --out DATA
  captioner prepare captions.csv --out DATA --image-column photo --caption-column words
  captioner prepare more_photos --uncaptioned --out MORE"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from training.data.formats import READERS

    parser.add_argument(
        "source",
        type=Path,
        help="folder, table, JSON file or tar; the documentation lists the forms",
    )
    parser.add_argument("--out", type=Path, metavar="FOLDER", required=True, help="folder to write")
    parser.add_argument(
        "--format",
        default="auto",
        help=f"form of the source: {', '.join(READERS)}; auto recognises it (default: auto)",
    )
    parser.add_argument(
        "--image-column",
        metavar="NAME",
        help="column of a table with the names of photos, or their bytes (default: by its name)",
    )
    parser.add_argument(
        "--caption-column",
        metavar="NAME",
        action="append",
        default=[],
        help="column of a table with captions; may be given several times (default: by its name)",
    )
    parser.add_argument(
        "--image-size",
        type=int,
        metavar="PIXELS",
        default=224,
        help="side of the square that each photo is resized to (default: %(default)s)",
    )
    parser.add_argument(
        "--val-share",
        type=float,
        metavar="SHARE",
        default=0.1,
        help="share of the photos for validation, if the source names none (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=1,
        help="seed of the choice of those photos (default: %(default)s)",
    )
    parser.add_argument(
        "--max-problems",
        type=float,
        metavar="SHARE",
        default=0.05,
        help="share of the photos that may have errors and are left out; more of them are an error"
        " (default: %(default)s)",
    )
    parser.add_argument(
        "--max-words",
        type=int,
        metavar="N",
        default=50,
        help="captions of more words are left out (default: %(default)s)",
    )
    parser.add_argument(
        "--uncaptioned",
        action="store_true",
        help="the source is a folder of photos without captions, searched with the folders within;"
        " all are to train on, after captioner teach",
    )
    shared.add_overwrite_argument(
        parser, "what was prepared in that folder from another source or with other options"
    )


def run(arguments: argparse.Namespace) -> None:
    from training.data.formats.columns import ColumnChoice
    from training.data.prepare import prepare

    if arguments.uncaptioned and arguments.format != "auto":
        raise ValueError(
            f"--format {arguments.format} and --uncaptioned exclude each other: only formats of"
            " captioned photos have names"
        )
    columns = ColumnChoice(arguments.image_column, arguments.caption_column)
    if arguments.uncaptioned and columns:
        raise ValueError("photos without captions have no columns; leave --uncaptioned out")
    prepared = prepare(
        arguments.source,
        arguments.out,
        arguments.image_size,
        format=arguments.format,
        seed=arguments.seed,
        val_share=arguments.val_share,
        max_problems=arguments.max_problems,
        max_words=arguments.max_words,
        overwrite=arguments.overwrite,
        uncaptioned=arguments.uncaptioned,
        columns=columns,
    )
    counts = ", ".join(f"{len(rows)} {split}" for split, rows in prepared.splits.items())
    taught = "; teach them before a training: captioner teach" if arguments.uncaptioned else ""
    print(f"{arguments.out}: {counts}{taught}")
