"""A folder of photos captioned into a table: its speed, its memory, and what `kill -9` does to it.

The baseline of the speed is `Captioner.caption_each` on the same photos in memory. Memory and kills
are those of ``captioner caption FOLDER --out TABLE`` in processes of their own, and so is the speed
of Ray. Photos may repeat, as further names of the same file, because neither the decoder nor the
captioner remembers one.
"""

from __future__ import annotations

import itertools
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import available_cores, in_new_process, in_turn, ratio
from benchmarks.options import Options
from benchmarks.report import Line, Report, columns

MIN_SPEED, MAX_MEMORY, MIN_RAY_SPEED = 0.95, 1.1, 0.85  # times the baseline's
MAX_DELAY = 0.3  # seconds from a row's appearance to a kill, less than a batch takes
SMALL_PHOTO = (64, 48)  # pixels; memory does not depend on them, and they are soon decoded


@dataclass(frozen=True)
class Counts:
    """The numbers of photos of each measurement, and of kills."""

    speed: int = 5000
    different: int = 250  # among them; drawing one takes as long as captioning it
    few: int = 1000  # for the memory
    many: int = 20_000
    killed: int = 600
    kills: int = 20
    parts: int = 20  # of those for the speed, by Ray; many, so that none is waited for long


QUICK = Counts(speed=40, different=8, few=40, many=80, killed=160, kills=2, parts=4)


def bench(options: Options) -> Report:
    """Caption folders, and compare with captioning from memory, fewer photos and no kill."""
    counts = QUICK if options.quick else Counts()
    report = Report()
    with tempfile.TemporaryDirectory() as name:
        for measured in (_speed, _ray, _memory, _kills):
            report.add(measured(options, counts, Path(name)))
    return report


def _speed(options: Options, counts: Counts, folder: Path) -> Report:
    from benchmarks.inputs import photos  # here, because --help should not wait for torch
    from captioner.bulk.engines import LocalEngine
    from captioner.bulk.resumption import TablePlan, open_table
    from captioner.bulk.row import RowOptions
    from captioner.bulk.run import caption_all
    from captioner.bulk.sources.listing import Listing
    from model import Captioner, DecodingOptions

    drawn = photos(min(counts.different, counts.speed), options.photos)
    in_memory = list(itertools.islice(itertools.cycle(drawn), counts.speed))
    source = _folder(folder / "speed", drawn, counts.speed)
    captioner = Captioner.load(options.checkpoint)
    engine = LocalEngine(captioner, DecodingOptions(), RowOptions(), "a model")
    plan = TablePlan(folder / "speed.csv", engine.options.columns, {}, overwrite=True)

    def from_folder() -> None:
        with open_table(plan) as sink:
            caption_all(Listing([str(source)]), engine, sink)

    captioner.caption_each(drawn)  # warms up
    runs = {"folder": from_folder, "memory": lambda: captioner.caption_each(in_memory)}
    seconds = in_turn(runs, options.rounds, warm_up=False)
    speed = ratio(seconds, "memory", "folder")
    rates = [["photos a second", ""]]
    rates += [[name, f"{counts.speed / min(each):.1f}"] for name, each in seconds.items()]
    print(columns(rates))
    name = f"bulk, folder of {counts.speed} photos"
    line = Line(name, speed, "times the speed from memory", at_least=MIN_SPEED)
    return Report({"photos": counts.speed, "seconds": seconds}, [line])


def _ray(options: Options, counts: Counts, folder: Path) -> Report:
    """Write a table in parts by one process of all cores, and by two of Ray's actors, half each.

    Whole commands are timed: starting Ray and loading a captioner for each actor count.
    """
    from benchmarks.inputs import photos

    drawn = photos(min(counts.different, counts.speed), options.photos)
    source = _folder(folder / "ray", drawn, counts.speed)
    numbers = itertools.count()

    def caption(*by: str) -> None:
        size = ("--part-size", str(counts.speed // counts.parts))
        table = f"{folder}/parts{next(numbers)}/"
        in_new_process([*_command(options, source, table), *size, *by])

    cpus = str(max(1, available_cores() // 2))
    runs = {"one process": caption, "Ray": lambda: caption("--ray", "--num-cpus", cpus)}
    seconds = in_turn(runs, options.rounds, warm_up=False)
    for name, each in seconds.items():
        print(f"{name}: {counts.speed / min(each):.1f} photos a second")
    speed = ratio(seconds, "one process", "Ray")
    name = f"bulk, {counts.speed} photos by Ray"
    line = Line(name, speed, "times the speed of one process", at_least=MIN_RAY_SPEED)
    return Report({"ray_seconds": seconds}, [line])


def _memory(options: Options, counts: Counts, folder: Path) -> Report:
    from benchmarks.inputs import synthetic_photo

    drawn = [synthetic_photo(seed, SMALL_PHOTO) for seed in range(counts.different)]
    megabytes = {}
    for count in (counts.few, counts.many):
        source = _folder(folder / f"memory{count}", drawn, count)
        found = in_new_process(_command(options, source, folder / f"memory{count}.csv"))
        megabytes[str(count)] = found["megabytes"]
        print(f"{count} photos: {found['megabytes']:.0f} MB")
    few, many = megabytes.values()
    name = f"bulk, {counts.many} photos"
    unit = f"times the peak memory of {counts.few}"
    return Report({"megabytes": megabytes}, [Line(name, many / few, unit, at_most=MAX_MEMORY)])


def _kills(options: Options, counts: Counts, folder: Path) -> Report:
    """Kill the command at random moments of captioning, and go on each time by the same command."""
    from benchmarks.inputs import synthetic_photo
    from captioner.bulk.part import part_path
    from captioner.bulk.table_sink import BATCH_SIZE

    drawn = [synthetic_photo(seed, SMALL_PHOTO) for seed in range(counts.different)]
    source, wanted = _folder(folder / "killed", drawn, counts.killed), folder / "wanted.csv"
    table, chosen = folder / "killed.csv", random.Random(0)
    in_new_process(_command(options, source, wanted))
    batch = BATCH_SIZE * wanted.stat().st_size // counts.killed  # bytes
    kills = tables = equal = 0
    # A captioner that is too fast to be killed often enough ends it too.
    while (kills < counts.kills and tables < 3 * counts.kills) or not table.exists():
        table.unlink(missing_ok=True)
        ahead = chosen.randrange(3 * batch) if kills < counts.kills else None
        _run_until(
            _command(options, source, table), part_path(table), ahead, chosen.uniform(0, MAX_DELAY)
        )
        kills += not table.exists()
        if table.exists():
            tables, equal = tables + 1, equal + (table.read_bytes() == wanted.read_bytes())
    print(f"{kills} kills, {tables} tables in the end, {equal} of them as undisturbed")
    line = Line(
        f"bulk, {kills} times kill -9", equal / tables, "of tables as undisturbed", at_least=1
    )
    return Report({"kills": kills, "tables": tables, "equal": equal}, [line])


def _folder(folder: Path, drawn: Sequence[bytes], count: int) -> Path:
    """Make a folder of so many names of the photos, and return it."""
    folder.mkdir()
    paths = [folder / f"{i:05}.jpg" for i in range(count)]
    for i, path in enumerate(paths):
        if i < len(drawn):
            path.write_bytes(drawn[i])
        else:
            path.hardlink_to(paths[i % len(drawn)])
    return folder


def _command(options: Options, source: Path, table: Path | str) -> list[str]:
    """Return the arguments of Python that caption a folder into a table."""
    checkpoint = str(options.checkpoint)
    return ["-m", "benchmarks.child_process", "bulk", checkpoint, str(source), str(table)]


def _run_until(command: Sequence[str], rows: Path, ahead: int | None, delay: float) -> None:
    """Run Python, and kill it while it writes rows.

    Parameters
    ----------
    rows
        The file of rows, which an earlier run may have left.
    ahead
        The bytes of rows that must have been added; None lets the process end.
    delay
        Seconds from then to the kill.

    Raises
    ------
    RuntimeError
        The process failed.
    """
    before, nothing = _size(rows), subprocess.DEVNULL
    with subprocess.Popen([sys.executable, *command], stdout=nothing, stderr=nothing) as process:
        while process.poll() is None:
            time.sleep(0.002)
            if ahead is not None and _size(rows) > before + ahead:
                time.sleep(delay)
                process.kill()
                break
    if process.returncode > 0:
        raise RuntimeError(f"captioner caption failed with status {process.returncode}")


def _size(path: Path) -> int:
    """Return the size of a file; -1 if there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1
