"""``captioner bench``: one benchmark by its name, or all that tell how captions are made."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.measure import machine
from benchmarks.report import Options, Report, table, write_json
from captioner.paths import SHIPPED

TRAINING = "train"  # has options of its own
AGAINST = "against"  # needs something to compare with
SERVING = "serve"  # takes minutes
SWAPPING = "swap"  # takes half an hour
DECODING = "decoding"  # tells what `model.image.cost` estimates, not how fast captions are made
THREADS = "threads"  # takes minutes, and neighbours of its own slow the machine
WHAT = {
    "search": "the beam search alone: what photos, beams and words cost",
    "caption": "from bytes to captions: throughput, latency, share of the machine's peak",
    "start": "a new process: seconds to its first caption, memory",
    AGAINST: "captioning against another checkpoint's or another search's",
    "agreement": "whether faster precisions write the same captions, and their CIDEr",
    SERVING: "captioning over HTTP against in process; overload, killed workers, a new start",
    SWAPPING: "versions swapped and rolled back under load: no request lost, none mistaken",
    DECODING: "decoding photos of every format, against the estimate from their headers",
    THREADS: "how threads wait for work: what it costs on a quiet machine and on a busy one",
    TRAINING: "training against the tutorial's loop: captions a second, memory",
}
ONLY_BY_NAME = (AGAINST, SERVING, SWAPPING, DECODING, THREADS, TRAINING)
HOW_SERVING = """\
It packages the checkpoint into a temporary folder, starts a TorchServe of its own on free ports of
the loopback interface, loads it from the same cores, and stops it at the end. In turn:

  throughput   photos a second with 16 and with 64 clients, against the same photos in process,
               in batches of 32, with the decoding that the server has
  latency      of one client, against one photo at a time in process
  overload     a minute of twice as many photos as are served: each must be answered, with a
               caption or with 503, and the server must be as fast as before right after
  kill -9      of the worker, ten times under load: what was in its batch may fail, nothing else
  new start    the server is stopped and started again
  captions     every reply of all that must be the caption which that photo has alone in process

Photos whose caption depends on their company in a batch are left out: of two captions as likely
as one another, rounding chooses. It takes about six minutes, with --quick about one."""

HOW_SWAPPING = """\
Swap versions and roll back while 32 clients ask without a pause.

It starts a TorchServe of its own, as bench serve does, and deploys version after version as
captioner deploy does; every fifth is rolled back. Even versions say in capitals what odd ones say,
so that a caption tells who wrote it: every reply must be the caption which that version has for
that photo alone in process, and none may be lost or fail. Most of a swap is two processes that
import torch; with OMP_NUM_THREADS=1 the server leaves them the other of two cores."""


def main(arguments: Sequence[str] = ()) -> None:
    """Run one benchmark, or all that are short; print figures, and thresholds beside them.

    What falls short of a threshold is marked and no more: a busy machine proves nothing.

    Raises
    ------
    ValueError
        There is no benchmark of that name, or an option does not fit.
    """
    rest = list(arguments)
    name = rest.pop(0) if rest and not rest[0].startswith("-") else None
    if name is not None and name not in WHAT:
        raise ValueError(f"there is no benchmark {name!r}; there are {', '.join(WHAT)}")
    if name == TRAINING:
        from benchmarks import train

        train.main(rest)
        return
    given = _parser(name).parse_args(rest)
    out: Path | None = given.out
    others = {key: value for key, value in vars(given).items() if key not in ("out", "overwrite")}
    options = Options(**others)
    stem = name or "bench"
    if out is not None:  # before minutes of measuring
        from model.files import check_new  # here, because the model's package takes torch along

        check_new(out / f"{stem}.json", given.overwrite)
        check_new(out / f"{stem}.png", given.overwrite)
    names = [name] if name else [n for n in WHAT if n not in ONLY_BY_NAME]
    if options.data is None and name is None:
        names.remove("agreement")
    reports: dict[str, Report] = {}
    for each in names:
        # Each imports what it needs: torch takes seconds, and --help should not.
        reports[each] = importlib.import_module(f"benchmarks.{each}").bench(options)
        print()
    print(table([line for report in reports.values() for line in report.lines]))
    if out is not None:
        _write(reports, options, out, stem)


def _write(reports: Mapping[str, Report], options: Options, out: Path, stem: str) -> None:
    about = {
        "machine": machine(),
        "checkpoint": str(options.checkpoint),
        "photos": str(options.photos or "synthetic"),
        "rounds": options.rounds,
        "quick": options.quick,
    }
    path = out / f"{stem}.json"
    write_json(path, reports, about)
    print(path)
    if reports.keys().isdisjoint({"search", "caption"}):
        return  # nothing to draw
    try:
        from benchmarks.picture import write_picture
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "matplotlib":
            raise
        print("no picture: it needs matplotlib, pip install 'captioner[train]'")
        return
    write_picture(reports, path.with_suffix(".png"))
    print(path.with_suffix(".png"))


def _parser(name: str | None) -> argparse.ArgumentParser:
    """Of one benchmark, or of all of them."""
    if name is None:
        listed = "\n".join(f"  {each:11}{text}" for each, text in WHAT.items())
        parser = argparse.ArgumentParser(
            prog="captioner bench",
            usage="captioner bench [NAME] [options]",
            description="Measure speed, memory and agreement, each against a baseline of the same"
            " run. Without a name:\nsearch, caption and start, and agreement if there is --data."
            f"\n\nbenchmarks:\n{listed}",
            epilog="captioner bench NAME --help shows the options of one.\n\nexamples:\n"
            "  captioner bench\n"
            "  captioner bench caption --photos FOLDER --out figures\n"
            "  captioner bench serve --quick",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
    else:
        text = WHAT[name]
        description = f"Measure {text}." if name != "agreement" else f"See {text}."
        if name == SWAPPING:
            description = HOW_SWAPPING
        parser = argparse.ArgumentParser(
            prog=f"captioner bench {name}",
            description=f"{description}\n\n{HOW_SERVING}" if name == SERVING else description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
    parser.add_argument(
        "--checkpoint", type=Path, default=SHIPPED, help="checkpoint folder (the shipped one)"
    )
    if name not in ("agreement", SWAPPING):
        parser.add_argument("--rounds", type=int, default=5, help="runs in turn, for medians (5)")
    if name not in ("agreement", DECODING):
        parser.add_argument(
            "--photos",
            type=Path,
            metavar="FOLDER",
            help="JPEGs of yours, the first by name (synthetic ones of 500 x 375 pixels)",
        )
    if name in (None, "agreement"):
        parser.add_argument(
            "--data",
            type=Path,
            required=name is not None,
            help="captioned photos, prepared or as prepare reads them",
        )
        parser.add_argument("--split", default="val", help="train, val or test (val)")
    if name == SERVING:
        parser.add_argument(
            "--requests", type=int, default=2000, help="between two looks at its memory (2000)"
        )
    if name == AGAINST:
        form = "such as beam_size=5,max_length=20,consensus=false (the default search)"
        parser.add_argument("--search", default="", metavar="OPTIONS", help=form)
        parser.add_argument(
            "--other", type=Path, metavar="CHECKPOINT", help="to compare with (the same checkpoint)"
        )
        parser.add_argument(
            "--other-search", default="", metavar="OPTIONS", help="its search (the default search)"
        )
    if name == SWAPPING:
        parser.add_argument("--swaps", type=int, default=100, help="of versions (100)")
    parser.add_argument("--quick", action="store_true", help="only see whether it runs")
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="write figures (JSON) and a picture (PNG) here"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace those that are there")
    return parser
