"""What `kill -9` does to a table: of the command, of Ray's actors, and of a node of Ray."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from subprocess import DEVNULL

import psutil

from benchmarks.bulk_setup import Setup
from benchmarks.machines import two_machines
from benchmarks.measure import in_new_process
from benchmarks.ray_nodes import actors, cluster_environment, ray_node
from benchmarks.report import Line, Report

MAX_DELAY = 0.3  # seconds from a row's appearance to a kill, less than a batch takes
# An actor has one thread here, and so has the process that it is compared with: another number of
# threads may round the last digit differently.
ONE_CPU = ("--num-cpus", "1")
ONE_THREAD = {"OMP_NUM_THREADS": "1"}


def killed_command(setup: Setup) -> Report:
    """Kill the command at random moments of captioning, and go on each time by the same command."""
    from captioner.bulk.part import part_path
    from captioner.bulk.table_sink import BATCH_SIZE

    counts, source, wanted = setup.counts, setup.killed_photos(), setup.folder / "wanted.csv"
    table, chosen = setup.folder / "killed.csv", random.Random(0)
    in_new_process(setup.command(source, wanted))
    batch = BATCH_SIZE * wanted.stat().st_size // counts.killed  # bytes
    kills = tables = equal = 0
    # A captioner that is too fast to be killed often enough ends it too.
    while (kills < counts.kills and tables < 3 * counts.kills) or not table.exists():
        table.unlink(missing_ok=True)
        ahead = chosen.randrange(3 * batch) if kills < counts.kills else None
        command = setup.command(source, table)
        _run_until(command, part_path(table), ahead, chosen.uniform(0, MAX_DELAY))
        kills += not table.exists()
        if table.exists():
            tables, equal = tables + 1, equal + (table.read_bytes() == wanted.read_bytes())
    return _report("kills", kills, f"{kills} times kill -9", tables, equal)


def killed_actors(setup: Setup) -> Report:
    """Kill Ray's actors at random moments of captioning, while one command goes on."""
    counts, source, wanted = setup.counts, setup.killed_photos(), _undisturbed_parts(setup)
    chosen = random.Random(0)
    kills = tables = equal = 0
    while kills < counts.kills and tables < counts.kills:
        out = setup.folder / f"actors{tables}"
        kills += _kill_actors(setup, source, out, counts.kills - kills, chosen)
        tables, equal = tables + 1, equal + are_equal(wanted, contents(out))
    return _report("actors", kills, f"{kills} times kill -9 of Ray's actors", tables, equal)


def lost_node(setup: Setup) -> Report:
    """Kill one of two nodes of Ray while they write a table in parts."""
    source, wanted = setup.killed_photos(), _undisturbed_parts(setup)
    out, environment = setup.folder / "node", cluster_environment()
    with (
        two_machines() as (one, two),
        ray_node(one, environment) as head,
        ray_node(two, environment, head) as second,
    ):
        command = _parts_command(setup, source, out, "--ray", head.address)
        with _started([*one.enter, sys.executable, *command], environment) as process:
            while process.poll() is None and len(_parts(out)) < len(wanted) // 3:
                time.sleep(0.01)
            written = len(_parts(out))
            second.lose()
            _ended(process)
    print(f"a node lost when {written} parts of {len(wanted) - 1} were written")
    return _report("node", 1, "a lost node of Ray", 1, int(are_equal(wanted, contents(out))))


def _report(name: str, kills: int, event: str, tables: int, equal: int) -> Report:
    """Return the report of tables that were written in spite of something."""
    print(f"{event}: {tables} tables in the end, {equal} of them as undisturbed")
    line = Line(f"bulk, {event}", equal / tables, "of tables as undisturbed", at_least=1)
    return Report({name: {"kills": kills, "tables": tables, "equal": equal}}, [line])


def _parts_command(setup: Setup, source: Path, out: Path, *options: str) -> list[str]:
    size = str(setup.counts.part_size)
    return setup.command(source, f"{out}/", "--part-size", size, *options)


def _undisturbed_parts(setup: Setup) -> dict[str, bytes]:
    """Return the files that a process without trouble writes; it runs once."""
    out = setup.folder / "wanted"
    if not out.exists():
        in_new_process(_parts_command(setup, setup.killed_photos(), out), **ONE_THREAD)
    return contents(out)


def contents(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder of parts, by name, as its readers see them.

    A writer that is killed may leave a hidden file, see `model.files.write_new`.
    """
    from captioner.bulk.parts.folder import LocalFolder

    parts = LocalFolder(folder)
    return {name: parts.read(name) for name in parts.names()}


def are_equal(wanted: dict[str, bytes], found: dict[str, bytes]) -> bool:
    """Return whether two folders have the same files; print the names of those that differ."""
    names = sorted(wanted.keys() | found.keys())
    different = [name for name in names if wanted.get(name) != found.get(name)]
    if different:
        print(f"not as undisturbed: {', '.join(different)}")
    return not different


def _parts(folder: Path) -> list[Path]:
    return list(folder.glob("part-*"))


def _kill_actors(
    setup: Setup, source: Path, out: Path, max_kills: int, chosen: random.Random
) -> int:
    """Write parts by Ray while its actors are killed; return how many were.

    Between two kills at least one part is written, so it ends.
    """
    killed = before = 0
    command = _parts_command(setup, source, out, "--ray", *ONE_CPU)
    with _started([sys.executable, *command]) as process:
        while process.poll() is None:
            time.sleep(0.01)
            if killed == max_kills or len(_parts(out)) <= before:
                continue
            time.sleep(chosen.uniform(0, MAX_DELAY))
            if found := actors(process):
                with suppress(psutil.NoSuchProcess):
                    chosen.choice(found).kill()
                    killed += 1
            before = len(_parts(out))
        _ended(process)
    return killed


def _started(
    command: Sequence[str], environment: dict[str, str] | None = None
) -> subprocess.Popen[str]:
    return subprocess.Popen(command, env=environment, stdout=DEVNULL, stderr=DEVNULL, text=True)


def _ended(process: subprocess.Popen[str]) -> None:
    """Wait until a process ends; raise `RuntimeError` if it failed by itself."""
    if process.wait() > 0:
        raise RuntimeError(f"captioner caption failed with status {process.returncode}")


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
    before = _size(rows)
    with _started([sys.executable, *command]) as process:
        while process.poll() is None:
            time.sleep(0.002)
            if ahead is not None and _size(rows) > before + ahead:
                time.sleep(delay)
                process.kill()
                break
        _ended(process)


def _size(path: Path) -> int:
    """Return the size of a file; -1 if there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1
