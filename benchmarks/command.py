"""``captioner bench``: runs one benchmark by its name, or all that run by default."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.catalog import BENCHMARKS
from benchmarks.measure import described, machine
from benchmarks.options import Options, add_options
from benchmarks.report import Report, table, write_json

EXAMPLES = """\
examples:
  captioner bench
  captioner bench caption --photos FOLDER --out figures
  captioner bench serve --quick

captioner bench NAME --help shows the options of one benchmark."""


def main(arguments: Sequence[str] = ()) -> None:
    """Run benchmarks; print their figures, and thresholds beside them.

    A figure that misses its threshold is marked and nothing more: on a busy machine it proves
    nothing.

    Raises
    ------
    ValueError
        There is no benchmark of that name, or an option is out of its range.
    """
    rest = list(arguments)
    name = rest.pop(0) if rest and not rest[0].startswith("-") else None
    if name is not None and name not in BENCHMARKS:
        raise ValueError(f"there is no benchmark {name!r}; there are {', '.join(BENCHMARKS)}")
    if name == "train":
        from benchmarks import train

        train.main(rest)
        return
    given = vars(_parser(name).parse_args(rest))
    out, overwrite = given.pop("out"), given.pop("overwrite")
    options = Options(**given)
    file_name = name or "bench"
    if out is not None:  # before minutes of measuring
        from model.files import check_new  # here, because the model's package takes torch along

        for ending in ("json", "png"):
            check_new(out / f"{file_name}.{ending}", overwrite)
    reports = _run([name] if name else _names_by_default(options), options)
    about = _about(options)
    print(described(about["machine"]))
    print(table([line for report in reports.values() for line in report.lines]))
    if out is not None:
        _write(reports, about, out / f"{file_name}.json")


def _names_by_default(options: Options) -> list[str]:
    names = [name for name, benchmark in BENCHMARKS.items() if benchmark.by_default]
    return [name for name in names if name != "agreement" or options.data is not None]


def _run(names: Sequence[str], options: Options) -> dict[str, Report]:
    reports = {}
    for name in names:
        # Imported here, because torch takes seconds to import and --help should not wait for it.
        reports[name] = importlib.import_module(f"benchmarks.{name}").bench(options)
        print()
    return reports


def _about(options: Options) -> dict[str, Any]:
    """Return what the figures are of."""
    return {
        "machine": machine(),
        "checkpoint": str(options.checkpoint),
        "photos": str(options.photos or "synthetic"),
        "rounds": options.rounds,
        "quick": options.quick,
    }


def _write(reports: Mapping[str, Report], about: Mapping[str, Any], path: Path) -> None:
    """Write the figures as JSON and, where there is something to draw, a picture beside it."""
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
    """Return the parser of one benchmark's options, or of those of all that run by default."""
    parser = _parser_of(name) if name else _parser_of_all()
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="write figures (JSON) and a picture (PNG) here"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there")
    return parser


def _parser_of_all() -> argparse.ArgumentParser:
    rows = "\n".join(f"  {name:11}{row.summary}" for name, row in BENCHMARKS.items())
    parser = argparse.ArgumentParser(
        prog="captioner bench",
        usage="captioner bench [NAME] [options]",
        description="Measure speed, memory and agreement, each against a baseline of the same run."
        "\nWithout a name: search, caption and start, and agreement if there is --data."
        f"\n\nbenchmarks:\n{rows}",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    by_default = (row for row in BENCHMARKS.values() if row.by_default)
    add_options(parser, {name for row in by_default for name in row.options})
    return parser


def _parser_of(name: str) -> argparse.ArgumentParser:
    row = BENCHMARKS[name]
    parser = argparse.ArgumentParser(
        prog=f"captioner bench {name}",
        description=row.description or f"Measure {row.summary}.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_options(parser, row.options, row.required)
    return parser
