"""The command ``captioner evaluate``."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from captioner.cli import arguments as shared

if TYPE_CHECKING:
    from model.calibration import Calibration
    from training.scoring.captions import GeneratedCaption
    from training.scoring.evaluation import Evaluation
    from training.scoring.reliability import Reliability

SUMMARY = "Caption a split of a data set and print the scores."
DESCRIPTION = """\
Caption the photos of a split by beam search and print the scores: BLEU, METEOR, ROUGE-L
and CIDEr with 95 % intervals, beside those of a person; how the captions are worded; and
how well their confidence predicts them.

With several --data each data set is scored by itself, and the confidence is measured,
or with --calibrate fitted, on all of their photos together."""
EXAMPLES = """\
  captioner evaluate CHECKPOINT --data DATA
  captioner evaluate CHECKPOINT --data flickr8k --split test --json results.json
  captioner evaluate CHECKPOINT --data DATA --calibrate --picture reliability.png
  captioner evaluate CHECKPOINT --data DATA --samples samples.png --beam-size 10
  captioner evaluate CHECKPOINT --data data/flickr8k --data data/coco --calibrate"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, help="checkpoint folder")
    parser.add_argument(
        "--data",
        type=Path,
        metavar="SOURCE",
        required=True,
        action="append",
        help="captioned photos: prepared, or in a form that captioner prepare reads; may be given"
        " several times",
    )
    parser.add_argument("--split", default="val", help="train, val or test (default: %(default)s)")
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        help="write the captions here, in COCO's format for results, and the scores beside them;"
        " of one --data only",
    )
    parser.add_argument(
        "--calibrate",
        action="store_true",
        help="fit the confidence of captions to this split, of all --data together, and write it"
        " into the checkpoint folder; decode as the server will",
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
        help="draw photos chosen at random, with their captions (.png); of one --data only",
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
    from training.scoring.calibration import calibrate, pooled
    from training.scoring.evaluation import assess
    from training.scoring.reliability import measure_reliability
    from training.scoring.split import Split

    for picture in filter(None, (arguments.picture, arguments.samples)):
        shared.check_picture_name(picture)
    decoding = shared.decoding_options(arguments)
    captioner = shared.load_captioner(arguments)
    stored = _check_files(arguments)
    image_size = captioner.network.config.image_size
    splits = [Split.open(data, arguments.split, image_size) for data in arguments.data]
    captions: list[GeneratedCaption] = []  # of all data sets, one after the other
    evaluations: list[Evaluation] = []
    for split in splits:
        generated = split.caption(captioner, decoding)
        texts = [caption.text for caption in generated]
        evaluations.append(assess(texts, split.references, split.names))
        captions += generated
    together = pooled(evaluations)
    if arguments.calibrate:
        fitted, reliability = calibrate(captions, together)
    else:
        reliability = measure_reliability(captions, together, stored)
    _print_scores(arguments, evaluations, reliability)
    if arguments.calibrate:
        print(fitted.save(arguments.checkpoint))
    if arguments.picture:
        write_reliability_picture(reliability, arguments.picture, together.person.get("CIDEr"))
        print(arguments.picture)
    if arguments.samples:
        write_samples(splits[0], captioner, arguments.samples, decoding, arguments.seed)
        print(arguments.samples)
    if arguments.json:
        about = {"checkpoint": str(arguments.checkpoint), "split": arguments.split}
        print(evaluations[0].write_json(arguments.json, about | dataclasses.asdict(decoding)))


def _print_scores(
    arguments: argparse.Namespace, evaluations: Sequence[Evaluation], reliability: Reliability
) -> None:
    """Print the figures of each data set, and those of all together if there are several."""
    from training.scoring.evaluation import comparison

    start = 0
    for data, evaluation in zip(arguments.data, evaluations, strict=True):
        count = len(evaluation.names)
        print(f"{count} photos of {data}, split {arguments.split}")
        print(evaluation.table())
        print(evaluation.wording.table())
        print(reliability.part(start, start + count).table())
        start += count
    if len(evaluations) > 1:
        print(f"{start} photos of all, split {arguments.split}")
        print(comparison(dict(zip(map(str, arguments.data), evaluations, strict=True))))
        print(reliability.table())


def _check_files(arguments: argparse.Namespace) -> Calibration | None:
    """Check before the work that its files can be written; return the stored calibration.

    Raises
    ------
    ValueError
        A file exists and may not be replaced, there is no confidence to draw, or a file can hold
        the photos of one data set only.
    """
    from model.calibration import CALIBRATION, Calibration
    from model.files import check_new
    from training.scoring.evaluation import scores_path

    for option, path in (("--json", arguments.json), ("--samples", arguments.samples)):
        if path and len(arguments.data) > 1:
            raise ValueError(
                f"{path}: {option} is for the photos of one data set, whose names tell them apart;"
                " give a single --data, and run the command for each"
            )
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
