"""What else befalls a run: a disk that is full, a locked folder, a photo that changes."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.bulk_setup import Setup
from benchmarks.measure import in_new_process
from benchmarks.report import Line, Report

PHOTOS = 40  # beside the locked folder and the photo that changes
LARGE_BYTES = 2**26  # of the photo that changes, so that it does while it is read
SECONDS_TO_CHANGE = 0.001
# In the first namespace the user is root and may mount, in the second an ordinary user whom locks
# keep out.
MOUNTING = ("unshare", "--map-root-user", "--mount")
ORDINARY = ("unshare", "--user", "--map-user=1000")
# Captions into a table on a disk that is full before the end, prints the names that are there, goes
# on with more room and copies the table.
ON_A_SMALL_DISK = """
disk=$1 copy=$2
shift 2
mount -t tmpfs -o size=32k disk "$disk" || exit 3
"$@" > /dev/null
status=$?
ls -A "$disk"
mount -o remount,size=10m disk "$disk" && "$@" > /dev/null && cp "$disk"/table.csv "$copy"
exit $status
"""


def trouble(setup: Setup) -> Report:
    """Caption with each trouble in turn: one line must name it, and nothing be half-written."""
    report = Report()
    for name, part in (
        ("full disk", _full_disk),
        ("locked folder", _locked_folder),
        ("photo that changes", _changing_photo),
    ):
        found = part(setup)
        if found is None:
            print(f"{name}: not measured, because this system allows no namespaces")
            continue
        unit = "with one line, nothing half-written"
        lines = [Line(f"bulk, {name}", float(found), unit, at_least=1, digits=0)]
        report.add(Report({name: found}, lines))
    return report


def _full_disk(setup: Setup) -> bool | None:
    """Caption onto a disk that is soon full, and go on when it has room."""
    if not _allowed(MOUNTING):
        return None
    disk, wanted, copy = (setup.folder / name for name in ("disk", "on_disk.csv", "copy.csv"))
    disk.mkdir()
    source, table = setup.killed_photos(), disk / "table.csv"
    in_new_process(setup.command(source, wanted))
    script = [*MOUNTING, "sh", "-c", ON_A_SMALL_DISK, "sh", str(disk), str(copy)]
    done = _captioned([*script, sys.executable, *setup.command(source, table)])
    full = [line for line in done.stderr.splitlines() if "No space left on device" in line]
    return (
        done.returncode == 1
        and full == [f"captioner: {table}.part: No space left on device"]
        and done.stdout.split() == ["table.csv.part", "table.csv.part.json"]
        and copy.exists()
        and copy.read_bytes() == wanted.read_bytes()
    )


def _locked_folder(setup: Setup) -> bool | None:
    """Caption a folder with another in it that cannot be read."""
    if (root := os.geteuid() == 0) and not _allowed(ORDINARY):
        return None
    source = setup.source("beside_locked", setup.small_photos, PHOTOS)
    locked = source / "locked"
    locked.mkdir()
    locked.chmod(0)
    try:
        user = ORDINARY if root else ()  # root can read it
        return _one_error(setup, source, user) == (str(locked), "Permission denied")
    finally:
        locked.chmod(0o700)


def _changing_photo(setup: Setup) -> bool:
    """Caption a folder with a photo in it that grows all the time."""
    source = setup.source("beside_changing", setup.small_photos, PHOTOS)
    with _growing(source / "large.jpg") as photo:
        return _one_error(setup, source) == (str(photo), "It changed while it was read")


def _one_error(setup: Setup, source: Path, user: Sequence[str] = ()) -> tuple[str, str] | None:
    """Caption a folder into a table; return the photo and the error of its one row with an error.

    None if anything is not as it should be.
    """
    table = source.with_suffix(".csv")
    done = _captioned([*user, sys.executable, *setup.command(source, table)])
    if done.returncode != 1 or not table.exists():
        return None
    with open(table, newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    errors = [(row["photo"], row["error"]) for row in rows if row["error"]]
    parts = list(table.parent.glob(f"{table.name}.part*"))
    return errors[0] if len(rows) == PHOTOS + 1 and len(errors) == 1 and not parts else None


@contextmanager
def _growing(photo: Path) -> Iterator[Path]:
    """Make a large file that grows until the end of the block."""
    with open(photo, "wb") as file:
        file.truncate(LARGE_BYTES)
    stop = threading.Event()

    def grow() -> None:
        with open(photo, "ab", buffering=0) as file:
            while not stop.wait(SECONDS_TO_CHANGE):
                file.write(b"\0")

    thread = threading.Thread(target=grow)
    thread.start()
    try:
        yield photo
    finally:
        stop.set()
        thread.join()


def _allowed(namespace: Sequence[str]) -> bool:
    """Return whether a command can be run in such a namespace."""
    if shutil.which(namespace[0]) is None:
        return False
    return subprocess.run([*namespace, "true"], capture_output=True).returncode == 0


def _captioned(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.stderr:
        print(done.stderr.splitlines()[-1])
    return done
