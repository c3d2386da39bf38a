"""The command ``captioner caption``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from captioner.cli import arguments as shared
from captioner.cli import caption_parts
from captioner.cli.caption_settings import table_settings
from captioner.cli.messages import print_error

if TYPE_CHECKING:
    from captioner.bulk.engines import Engine
    from captioner.bulk.resumption import TablePlan
    from captioner.bulk.row import RowOptions
    from captioner.bulk.run import Counts, Progress, Sink
    from captioner.bulk.sources.listing import Listing

SUMMARY = "Write captions for photos."
DESCRIPTION = """\
Write captions for photos, as lines or into a table.

A photo that cannot be captioned has an error of its own; the others are captioned, and the exit
status is 1. When a run with --out ends early, the same command goes on with it. docs/bulk.md says
more."""
EXAMPLES = """\
  captioner caption photo.jpg
  captioner caption photos --out captions.csv
  captioner caption *.jpg --num-captions 3 --beam-size 10
  captioner caption photos --out captions.parquet --tokens --min-confidence 0.3
  captioner caption shard-0.tar list.txt photos.parquet s3://bucket/photos --out captions.jsonl
  captioner caption photos --sidecar xmp --skip-existing
  captioner caption inbox --watch --out captions.jsonl
  captioner caption s3://bucket/photos --out s3://bucket/captions/ --part 0/4
  captioner caption photos --out captions/ --ray
  captioner caption photo.jpg --checkpoint CHECKPOINT --device cuda
  captioner caption photos --server http://127.0.0.1:8080"""

REQUESTS_UNDER_WAY = 64  # to a server; four of its batches, so that none of them waits for photos


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help="a photo; a folder of photos; a tar of photos; a .txt or .lst file with a path a line,"
        " or - for such lines on standard input; a Parquet file; each of them here or at an"
        " address, s3://, gs:// or file://",
    )
    captioner = parser.add_mutually_exclusive_group()
    shared.add_checkpoint_argument(captioner)
    captioner.add_argument(
        "--server",
        metavar="URL",
        help="ask a served captioner, such as http://127.0.0.1:8080; its operator has chosen"
        " checkpoint, device and precision",
    )
    shared.add_key_file_argument(parser)
    _add_source_arguments(parser.add_argument_group("the photos"))
    _add_output_arguments(parser.add_argument_group("what is written"))
    caption_parts.add_arguments(parser.add_argument_group("by many processes"))
    shared.add_decoding_arguments(parser)
    shared.add_device_arguments(parser)


def _add_source_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--no-recursive",
        dest="recursive",
        action="store_false",
        help="leave out the photos in the folders of a folder",
    )
    group.add_argument(
        "--watch",
        action="store_true",
        help="go on with the photos that appear in the folders, each once it is complete, until"
        " Ctrl-C; rows are added to FILE.csv or FILE.jsonl, also after a restart",
    )
    group.add_argument(
        "--image-column",
        metavar="NAME",
        help="column of Parquet files that holds the photos, as paths or as the bytes of image"
        " files (default: image, photo, image_path, file_name, filename, path or jpg)",
    )


def _add_output_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--out",
        type=caption_parts.place_to_write,
        metavar="FILE",
        help="table to write, *.csv, *.jsonl or *.parquet, in place of lines; or a folder for its"
        " parts, FOLDER/ or s3://bucket/folder",
    )
    shared.add_overwrite_argument(group, "the table")
    group.add_argument(
        "--sidecar",
        choices=("txt", "json", "xmp"),
        help="write a file beside each photo, photo.txt, photo.jpg.json or photo.jpg.xmp; none that"
        " is there is touched",
    )
    group.add_argument(
        "--skip-existing",
        action="store_true",
        help="keep the captions that the table has, and add those of other photos; without --out,"
        " leave out photos that have a sidecar",
    )
    group.add_argument(
        "--min-confidence",
        type=float,
        metavar="X",
        help="leave out captions of a lower confidence, in 0..1",
    )
    group.add_argument(
        "--tokens",
        action="store_true",
        help="add a column of the caption's words and their log-probabilities",
    )
    group.add_argument(
        "--verbose", action="store_true", help="print log-probabilities beside the confidences"
    )


def run(arguments: argparse.Namespace) -> None:
    from captioner.bulk.appended_table import check_appendable
    from captioner.bulk.resumption import check_table
    from captioner.bulk.sources.listing import Listing
    from captioner.operations.interrupts import Interrupts

    _check(arguments)
    listing = Listing(arguments.sources, arguments.recursive, arguments.image_column)
    listing.check()
    if arguments.sidecar:
        from captioner.bulk.sidecars import check_sources

        check_sources(arguments.sources)
    if arguments.watch:
        from captioner.bulk.watching import check_folders

        check_folders(arguments.sources)
    if isinstance(arguments.out, Path):
        check = check_appendable if arguments.watch else check_table
        check(arguments.out, arguments.overwrite or arguments.skip_existing)
    options = _row_options(arguments)
    with Interrupts():
        if arguments.watch:
            with _engine(arguments, options) as engine:
                _watch(arguments, listing, engine)
            return
        counts = _caption(arguments, listing, options)
    if counts.failures:
        of = f"{counts.failures} of {counts.photos} photos could not be captioned"
        raise ValueError(f"{of}; the column error says why" if arguments.out else of)


def _caption(arguments: argparse.Namespace, listing: Listing, options: RowOptions) -> Counts:
    """Caption all photos to where the arguments say."""
    if arguments.ray is not None:
        return caption_parts.write_by_ray(arguments, listing, options)
    with _engine(arguments, options) as engine:
        if arguments.out is None:
            return _print_lines(arguments, listing, engine)
        if isinstance(arguments.out, str):
            return caption_parts.write(arguments, listing, engine)
        return _write_table(arguments, listing, engine)


def _check(arguments: argparse.Namespace) -> None:
    """Raise `ValueError` for arguments that do not go together."""
    if arguments.key_file and not arguments.server:
        raise ValueError("--key-file is the key file of a server; name that with --server")
    for name in ("device", "precision"):
        if arguments.server and getattr(arguments, name) != "auto":
            raise ValueError(f"--{name} is the server's to choose; leave it out with --server")
    for name in ("tokens", "overwrite"):
        if getattr(arguments, name) and arguments.out is None:
            raise ValueError(f"--{name.replace('_', '-')} is about a table; name that with --out")
    if arguments.skip_existing and arguments.out is None and arguments.sidecar is None:
        raise ValueError(
            "--skip-existing is about a table or sidecars; give --out FILE or --sidecar"
        )
    if arguments.overwrite and arguments.skip_existing:
        raise ValueError("--overwrite replaces the captions that --skip-existing keeps; give one")
    caption_parts.check(arguments)


def _row_options(arguments: argparse.Namespace) -> RowOptions:
    from captioner.bulk.row import RowOptions

    return RowOptions(arguments.num_captions > 1, arguments.tokens, arguments.min_confidence)


@contextmanager
def _engine(arguments: argparse.Namespace, options: RowOptions) -> Iterator[Engine]:
    """Load the captioner, or connect to the server, that the arguments name."""
    from captioner.bulk.engines import LocalEngine, ServerEngine

    if arguments.server:
        from captioner.client import CaptionClient

        keys = shared.read_keys(arguments)
        with CaptionClient(
            arguments.server,
            token=keys.inference if keys else None,
            concurrency=REQUESTS_UNDER_WAY,
        ) as client:
            yield ServerEngine(client, shared.decoding_values(arguments), options)
    else:
        from model import checkpoint

        decoding = shared.decoding_options(arguments)
        captioner = shared.load_captioner(arguments)
        yield LocalEngine(captioner, decoding, options, checkpoint.digest(arguments.checkpoint))


def _print_lines(arguments: argparse.Namespace, listing: Listing, engine: Engine) -> Counts:
    from captioner.bulk.lines import LineSink
    from captioner.bulk.run import caption_all

    sink = _with_sidecars(arguments, engine, LineSink(print_error, arguments.verbose))
    progress = _progress(listing, 0) if sys.stderr.isatty() else iter  # lines are enough elsewhere
    return caption_all(listing, engine, sink, progress)


def _with_sidecars(arguments: argparse.Namespace, engine: Engine, sink: Sink) -> Sink:
    """Return a sink that also writes sidecars if they are asked for."""
    if arguments.sidecar is None:
        return sink
    from captioner.bulk.sidecars import SidecarSink

    # A table knows which photos are done; without one the sidecars say it.
    skip = arguments.skip_existing and arguments.out is None
    return SidecarSink(sink, arguments.sidecar, engine.options.columns, skip, print_error)


def _write_table(arguments: argparse.Namespace, listing: Listing, engine: Engine) -> Counts:
    from captioner.bulk.resumption import open_table
    from captioner.bulk.run import caption_all

    plan = _plan(arguments, engine)
    with open_table(plan) as sink:
        try:
            written = _with_sidecars(arguments, engine, sink)
            counts = caption_all(listing, engine, written, _progress(listing, sink.done))
        except (KeyboardInterrupt, OSError, RuntimeError):
            sink.count_appended()
            if sink.part.rows:
                there = f"{sink.done} photos are captioned in {sink.part.path}"
                print_error(f"{there}; the same command goes on from there")
            raise
    kept = f" and {sink.kept} that it had" if sink.kept else ""
    print(f"{plan.path}: {counts.photos} photos{kept}")
    return counts


def _watch(arguments: argparse.Namespace, listing: Listing, engine: Engine) -> None:
    """Caption what appears in folders until a signal comes; that is no failure."""
    from captioner.bulk.appended_table import open_appended
    from captioner.bulk.lines import LineSink
    from captioner.bulk.watching import StopSignals, Watched, caption_watched

    watched = Watched(listing)
    sink: AbstractContextManager[Sink] = nullcontext(LineSink(print_error, arguments.verbose))
    if arguments.out is not None:
        sink = open_appended(_plan(arguments, engine))
    with sink as opened, StopSignals(watched.stop):
        print_error(f"watching {', '.join(listing.sources)}; Ctrl-C ends it")
        written = _with_sidecars(arguments, engine, opened)
        counts = caption_watched(watched, engine, written)
    failed = f", {counts.failures} of them without a caption" if counts.failures else ""
    print_error(f"stopped after {counts.photos} photos{failed}")


def _plan(arguments: argparse.Namespace, engine: Engine) -> TablePlan:
    from captioner.bulk.resumption import TablePlan

    return TablePlan(
        arguments.out,
        engine.options.columns,
        table_settings(arguments, engine.model, engine.place),
        arguments.overwrite,
        arguments.skip_existing,
    )


def _progress(listing: Listing, done: int) -> Progress:
    """Return what shows the progress: a bar on a terminal, elsewhere a line now and then."""
    from training.reporting.progress import progress

    total = listing.count() if sys.stderr.isatty() else None
    return lambda rows: progress(rows, total, "captions", done)
