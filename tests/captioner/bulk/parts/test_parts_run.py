"""A table in parts: whole, by several processes, and after ends that came too early."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from captioner.bulk.parts.division import Division, PartReader
from captioner.bulk.parts.folder import part_folder
from captioner.bulk.parts.run import RUN_FILE, PartsRun, caption_parts, part_name
from captioner.bulk.parts.share import Share
from captioner.bulk.photo import Photo
from captioner.bulk.run import Counts
from captioner.bulk.tables import form_of
from tests.captioner.bulk.fakes import CountedPhotos, EchoEngine, photos, write_table

ROOT = Path(__file__).resolve().parents[4]
SIZE = 30


def run_of(
    place: Path | str, listing: CountedPhotos, size: int = SIZE, **settings: Any
) -> PartsRun:
    engine = EchoEngine()
    settings = {"--beam-size": 5, "the model": "ab"} | settings
    division = Division.of(listing, size)
    return PartsRun(part_folder(str(place)), engine.options.columns, settings, division)


def write(place: Path | str, listing: CountedPhotos, share: Share | None = None) -> Counts:
    run = run_of(place, listing)
    run.begin()
    return caption_parts(run, share or Share(), listing, EchoEngine())


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [
        row
        for path in sorted(folder.glob("part-*.parquet"))
        for row in pyarrow.parquet.read_table(path).to_pylist()
    ]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def expected(folder: Path, count: int) -> list[dict[str, Any]]:
    """Return the rows of the table in one file that an undisturbed run writes."""
    table = folder.with_name("whole.parquet")
    if not table.exists():
        write_table(table, photos(count))
    return list(form_of(table).read(table))


@pytest.mark.parametrize("count", [1, 29, 30, 31, 100])
@pytest.mark.parametrize("address", [False, True])
def test_parts_hold_the_rows_of_the_table(count: int, address: bool, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    counts = write(f"file://{folder}" if address else folder, photos(count))
    assert counts == Counts(count, len(range(3, count, 7)))
    parts = [part_name(number) for number in range(-(-count // SIZE))]
    assert names(folder) == [*parts, RUN_FILE]
    assert rows_of(folder) == expected(folder, count)


def test_a_part_that_is_there_is_not_written_again(tmp_path: Path) -> None:
    folder, listing = tmp_path / "out", photos(100)
    write(folder, photos(100))
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert write(folder, listing) == Counts()
    assert listing.read == []
    (folder / part_name(1)).unlink()
    assert write(folder, listing).photos == SIZE
    after = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert {name for name in before if before[name] != after[name]} == {part_name(1)}
    assert sorted(listing.read) == list(range(30, 60))


def test_shares_make_the_whole(tmp_path: Path) -> None:
    folder, listing = tmp_path / "out", photos(200)
    for index in (2, 0, 1):
        write(folder, listing, Share(index, 3))
    assert sorted(listing.read) == list(range(200))  # each photo is read once
    assert rows_of(folder) == expected(folder, 200)


class Killed(BaseException):
    """Stands for the end of the process."""


def test_a_part_that_is_not_whole_is_not_there(tmp_path: Path) -> None:
    folder, listing = tmp_path / "out", photos(100)
    run = run_of(folder, listing)
    run.begin()
    assert len(list(islice(run.write(run.missing(Share()), listing, EchoEngine()), 45))) == 45
    assert names(folder) == [part_name(0), RUN_FILE]
    write(folder, photos(100))
    assert rows_of(folder) == expected(folder, 100)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"settings": {"--beam-size": 3}}, "--beam-size was 5 and is 3"),
        ({"settings": {"the model": "cd"}}, "the model was ab and is cd"),
        ({"settings": {"--tokens": True}}, "--tokens was not given and is True"),
        ({"count": 99}, "the number of photos was 100 and is 99"),
        ({"size": 20}, "--part-size was 30 and is 20"),
    ],
)
def test_a_run_with_something_else_is_refused(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    write(tmp_path / "out", photos(100))
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    listing = photos(change.get("count", 100))
    settings = change.get("settings", {})
    with pytest.raises(ValueError, match=f"begun with other settings: {message}"):
        run_of(tmp_path / "out", listing, change.get("size", SIZE), **settings).begin()
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_photos_of_other_names_are_refused(tmp_path: Path) -> None:
    class Renamed(CountedPhotos):
        def __iter__(self) -> Iterator[Photo]:
            return (Photo(f"x{photo.name}", photo.read) for photo in super().__iter__())

    write(tmp_path / "out", photos(100))
    with pytest.raises(ValueError, match="the hash of the photos' names was"):
        write(tmp_path / "out", Renamed(photos(100).contents))


def test_photos_that_change_after_the_listing_write_no_part(tmp_path: Path) -> None:
    run = run_of(tmp_path / "out", photos(100))
    run.begin()
    with pytest.raises(ValueError, match="the photos of part 3 are others"):
        caption_parts(run, Share(), photos(99), EchoEngine())
    assert names(tmp_path / "out") == [*map(part_name, range(3)), RUN_FILE]


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(ValueError, match=r"holds letter\.txt and no run\.json"):
        write(tmp_path, photos(3))
    (tmp_path / RUN_FILE).write_text("{}")
    with pytest.raises(ValueError, match=r"run\.json is damaged"):
        write(tmp_path, photos(3))
    assert names(tmp_path) == ["letter.txt", RUN_FILE]


def test_a_run_that_was_replaced_meanwhile_writes_nothing(tmp_path: Path) -> None:
    """In an object store, the last of two that begin at once wins, and the other one ends."""
    run = run_of(tmp_path / "out", photos(100))
    run.begin()
    file = tmp_path / "out" / RUN_FILE
    content = json.loads(file.read_text())
    content["settings"]["--beam-size"] = 7
    file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="--beam-size was 7 and is 5"):
        caption_parts(run, Share(), photos(100), EchoEngine())
    assert names(tmp_path / "out") == [RUN_FILE]


def test_a_server_with_another_model_is_refused(tmp_path: Path) -> None:
    class Server(EchoEngine):
        def rows(self, photos: Any) -> Any:
            return EchoEngine(model=self.place).rows(photos)

    listing = photos(100)
    run = run_of(tmp_path / "out", listing)
    run.begin()
    list(run.write([0], listing, Server(model=None, place="old")))
    with pytest.raises(ValueError, match="has captions of the model"):
        list(run.write([1], listing, Server(model=None, place="new")))
    assert not (tmp_path / "out" / part_name(1)).exists()
    list(run.write([1], listing, Server(model=None, place="old")))


def test_a_reader_goes_back_and_forth() -> None:
    listing = photos(100)
    reader = PartReader(listing, Division.of(listing, 30))
    for number in (0, 2, 1, 3, 3):
        found = [photo.name for photo in reader.photos(number)]
        assert found == [photo.name for photo in islice(listing, number * 30, number * 30 + 30)]


WRITE = """
import sys
from captioner.bulk.parts.share import Share
from tests.captioner.bulk.fakes import photos
from tests.captioner.bulk.parts.test_parts_run import write
write(sys.argv[1], photos(3000), Share(int(sys.argv[2]), 2))
"""


@pytest.mark.slow
def test_kills_lose_no_row_and_write_none_twice(tmp_path: Path) -> None:
    """Two processes at once, each of which is killed at random until it ends by itself."""
    folder, chosen = tmp_path / "out", random.Random(20)
    statuses: list[int] = []
    left = {0, 1}
    while left:
        processes = {
            index: subprocess.Popen([sys.executable, "-c", WRITE, folder, str(index)], cwd=ROOT)
            for index in left
        }
        if len(statuses) < 16:
            begun = len(list(folder.glob("part-*")))
            wanted = begun + chosen.randrange(1, 8)
            while len(list(folder.glob("part-*"))) < wanted and any(
                each.poll() is None for each in processes.values()
            ):
                time.sleep(0.002)
            for each in processes.values():
                each.kill()
        for index, each in processes.items():
            statuses.append(each.wait())
            if statuses[-1] == 0:
                left.discard(index)
    assert statuses.count(-signal.SIGKILL) >= 8
    assert set(statuses) <= {0, -signal.SIGKILL}
    assert rows_of(folder) == expected(folder, 3000)
