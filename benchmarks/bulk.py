"""A folder of photos captioned into a table: speed, memory, kills and other trouble.

The baseline of the speed is `Captioner.caption_each` on the same photos in memory. Memory, kills
and troubles are those of ``captioner caption FOLDER --out TABLE`` in processes of their own, and so
is the speed of Ray. Photos may repeat, as further names of the same file, because neither the
decoder nor the captioner remembers one. Here are speed and memory; `PARTS` names all.
"""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

from benchmarks.bulk_kills import killed_actors, killed_command, lost_node
from benchmarks.bulk_setup import QUICK, Counts, Setup
from benchmarks.bulk_trouble import trouble
from benchmarks.measure import available_cores, in_new_process, in_turn, ratio
from benchmarks.options import Options
from benchmarks.parts import Part, run_parts, select_parts
from benchmarks.report import Line, Report, columns

MIN_SPEED, MAX_MEMORY, MIN_RAY_SPEED = 0.95, 1.1, 0.85  # times the baseline's


def bench(options: Options) -> Report:
    """Caption folders, and compare with captioning from memory, fewer photos and no trouble.

    Raises
    ------
    ValueError
        There is no such part.
    """
    parts = select_parts(options.only, PARTS, "bench bulk")
    with tempfile.TemporaryDirectory() as folder:
        setup = Setup(options, QUICK if options.quick else Counts(), Path(folder))
        return run_parts(parts, setup)


def folder_speed(setup: Setup) -> Report:
    """Compare the photos a second of a folder with those of the same photos in memory, in turn."""
    from captioner.bulk.engines import LocalEngine  # here, because --help should not wait for torch
    from captioner.bulk.resumption import TablePlan, open_table
    from captioner.bulk.row import RowOptions
    from captioner.bulk.run import caption_all
    from captioner.bulk.sources.listing import Listing
    from model import Captioner, DecodingOptions

    options, count = setup.options, setup.counts.speed
    in_memory = list(itertools.islice(itertools.cycle(setup.photos), count))
    source = setup.source("speed", setup.photos, count)
    captioner = Captioner.load(options.checkpoint)
    engine = LocalEngine(captioner, DecodingOptions(), RowOptions(), "a model")
    plan = TablePlan(setup.folder / "speed.csv", engine.options.columns, {}, overwrite=True)

    def from_folder() -> None:
        with open_table(plan) as sink:
            caption_all(Listing([str(source)]), engine, sink)

    captioner.caption_each(setup.photos)  # warms up
    runs = {"folder": from_folder, "memory": lambda: captioner.caption_each(in_memory)}
    seconds = in_turn(runs, options.rounds, warm_up=False)
    speed = ratio(seconds, "memory", "folder")
    rates = [["photos a second", ""]]
    rates += [[name, f"{count / min(each):.1f}"] for name, each in seconds.items()]
    print(columns(rates))
    name = f"bulk, folder of {count} photos"
    line = Line(name, speed, "times the speed from memory", at_least=MIN_SPEED)
    return Report({"photos": count, "seconds": seconds}, [line])


def memory(setup: Setup) -> Report:
    """Compare the peak memory of captioning many photos with that of few."""
    megabytes = {}
    for count in (setup.counts.few, setup.counts.many):
        source = setup.source(f"memory{count}", setup.small_photos, count)
        found = in_new_process(setup.command(source, setup.folder / f"memory{count}.csv"))
        megabytes[str(count)] = found["megabytes"]
        print(f"{count} photos: {found['megabytes']:.0f} MB")
    few, many = megabytes.values()
    name = f"bulk, {setup.counts.many} photos"
    unit = f"times the peak memory of {setup.counts.few}"
    return Report({"megabytes": megabytes}, [Line(name, many / few, unit, at_most=MAX_MEMORY)])


def ray_speed(setup: Setup) -> Report:
    """Write a table in parts by one process of all cores, and by two of Ray's actors, half each.

    Whole commands are timed: starting Ray and loading a captioner for each actor count.
    """
    count, numbers = setup.counts.speed, itertools.count()
    source = setup.source("speed", setup.photos, count)

    def caption(*by: str) -> None:
        size = ("--part-size", str(count // setup.counts.parts))
        table = f"{setup.folder}/parts{next(numbers)}/"
        in_new_process(setup.command(source, table, *size, *by))

    cpus = str(max(1, available_cores() // 2))
    runs = {"one process": caption, "Ray": lambda: caption("--ray", "--num-cpus", cpus)}
    seconds = in_turn(runs, setup.options.rounds, warm_up=False)
    for name, each in seconds.items():
        print(f"{name}: {count / min(each):.1f} photos a second")
    speed = ratio(seconds, "one process", "Ray")
    name = f"bulk, {count} photos by Ray"
    line = Line(name, speed, "times the speed of one process", at_least=MIN_RAY_SPEED)
    return Report({"ray_seconds": seconds}, [line])


PARTS: dict[str, Part[Setup]] = {
    "folder": folder_speed,
    "memory": memory,
    "ray": ray_speed,
    "kill": killed_command,
    "actors": killed_actors,
    "node": lost_node,
    "trouble": trouble,
}
