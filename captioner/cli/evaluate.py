"""The command ``captioner evaluate``."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from captioner.cli import arguments as shared

if TYPE_CHECKING:
    from model.calibration import Calibration

SUMMARY = "Caption a split of a data set and print the scores."
DESCRIPTION = """\
Caption the photos of a split by beam search and print the scores: BLEU, METEOR, ROUGE-L
and CIDEr with 95 % intervals, beside those of a person; how the captions are worded; and
how well their confidence predicts them."""
EXAMPLES = """\
  captioner evaluate CHECKPOINT --data DATA
  captioner evaluate CHECKPOINT --data flickr8k --split test --json results.json
  captioner evaluate CHECKPOINT --data DATA --calibrate --picture reliability.png
  captioner evaluate CHECKPOINT --data DATA --samples samples.png --beam-size 10"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, help="checkpoint folder")
    parser.add_argument(
        "--data",
        type=Path,
        metavar="SOURCE",
        required=True,
        help="captioned photos: prepared, or in a form that captioner prepare reads",
    )
    parser.add_argument("--split", default="val", help="train, val or test (default: %(default)s)")
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        help="write the captions here, in COCO's format for results, and the scores beside them",
    )
    parser.add_argument(
        "--calibrate",
        action="store_true",
        help="fit the confidence of captions to this split and write it into the checkpoint"
        " folder; decode as the server will",
    )
    parser.add_argument(
        "--picture",
        type=Path,
        metavar="FILE",
        help="draw how far confidences can be relied on (.png)",
    )
    parser.add_argument(
        "--samples",
        type=Path,
        metavar="FILE",
        help="draw photos chosen at random, with their captions (.png)",
    )
    parser.add_argument(
        "--seed", type=int, default=1, help="seed of that choice (default: %(default)s)"
    )
    shared.add_overwrite_argument(parser, "the files that are there, or the calibration")
    shared.add_decoding_arguments(parser, "num_captions")
    shared.add_device_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    from training.reporting.reliability_picture import write_reliability_picture
    from training.reporting.samples import write_samples
    from training.scoring.calibration import calibrate
    from training.scoring.evaluation import assess
    from training.scoring.reliability import measure_reliability
    from training.scoring.split import Split

    for picture in filter(None, (arguments.picture, arguments.samples)):
        shared.check_picture_name(picture)
    decoding = shared.decoding_options(arguments)
    captioner = shared.load_captioner(arguments)
    stored = _check_files(arguments)
    split = Split.open(arguments.data, arguments.split, captioner.network.config.image_size)
    captions = split.caption(captioner, decoding)
    texts = [caption.text for caption in captions]
    evaluation = assess(texts, split.references, split.names)
    if arguments.calibrate:
        fitted, reliability = calibrate(captions, evaluation)
    else:
        reliability = measure_reliability(captions, evaluation, stored)
    print(f"{len(split.names)} photos of {arguments.data}, split {arguments.split}")
    print(evaluation.table())
    print(evaluation.wording.table())
    print(reliability.table())
    if arguments.calibrate:
        print(fitted.save(arguments.checkpoint))
    if arguments.picture:
        person = evaluation.person.get("CIDEr")
        write_reliability_picture(reliability, arguments.picture, person)
        print(arguments.picture)
    if arguments.samples:
        write_samples(split, captioner, arguments.samples, decoding, arguments.seed)
        print(arguments.samples)
    if arguments.json:
        about = {"checkpoint": str(arguments.checkpoint), "split": arguments.split}
        print(evaluation.write_json(arguments.json, about | dataclasses.asdict(decoding)))


def _check_files(arguments: argparse.Namespace) -> Calibration | None:
    """Check before the work that its files can be written; return the stored calibration.

    Raises
    ------
    ValueError
        A file exists and may not be replaced, or there is no confidence to draw.
    """
    from model.calibration import CALIBRATION, Calibration
    from model.files import check_new
    from training.scoring.evaluation import scores_path

    written = [path for path in (arguments.picture, arguments.samples, arguments.json) if path]
    if arguments.json:
        written.append(scores_path(arguments.json))
    if arguments.calibrate:
        written.append(arguments.checkpoint / CALIBRATION)
    for path in written:
        check_new(path, arguments.overwrite)
    if arguments.calibrate:
        return None
    stored = Calibration.load(arguments.checkpoint)
    if arguments.picture and not stored:
        raise ValueError(
            f"{arguments.picture}: {arguments.checkpoint} has no confidence to draw;"
            " add --calibrate"
        )
    return stored
