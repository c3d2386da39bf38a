"""A table is written whole, or gone on with, and nothing is lost or replaced unasked."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from captioner.bulk import table_sink
from captioner.bulk.part import Part, PartState, part_path, state_path
from captioner.bulk.photo import Photo
from captioner.bulk.row import RowOptions
from captioner.bulk.run import Counts
from captioner.bulk.tables import FORMS
from tests.captioner.bulk.fakes import CountedPhotos, EchoEngine, photos, write_table


@pytest.fixture(params=FORMS)
def table(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The name of a table in a folder of its own, which does not exist yet."""
    return tmp_path / "out" / f"captions{request.param}"


def undisturbed(table: Path, count: int) -> bytes:
    """Return the bytes of the table that a run without any trouble writes."""
    whole = table.with_name(f"whole{table.suffix}")
    write_table(whole, photos(count))
    content = whole.read_bytes()
    whole.unlink()
    return content


class Killed(BaseException):
    """Stands for the end of the process; everything that follows it in a test is not done."""


def until(count: int, listing: CountedPhotos) -> Iterator[Photo]:
    yield from islice(listing, count)
    raise Killed


def test_a_table_is_alone_in_its_folder(table: Path) -> None:
    assert write_table(table, photos(50)) == Counts(50, 7)
    assert [path.name for path in table.parent.iterdir()] == [table.name]
    assert table.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(("added", "counted"), [(32, 32), (33, 32), (31, 0)])
def test_rows_that_an_interrupt_left_uncounted_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, added: int, counted: int
) -> None:
    """Only whole batches of rows count, because the next run keeps only those."""

    def interrupt() -> float:
        raise KeyboardInterrupt

    rows = [{"photo": str(number)} for number in range(32 + added)]
    with Part.open(tmp_path / "captions.csv.part") as part:
        part.append(rows[:32])
        with monkeypatch.context() as after_writing:
            after_writing.setattr("time.monotonic", interrupt)
            with pytest.raises(KeyboardInterrupt):
                part.append(rows[32:])
        part.count_appended(32)
        assert part.rows == 32 + counted
        assert list(part.read()) == rows[: part.rows]
    with Part.open(tmp_path / "captions.csv.part") as part:
        part.keep_whole(0, 32)
        assert part.rows == 32 + counted


def test_a_run_that_ends_early_is_gone_on_with(table: Path) -> None:
    wanted = undisturbed(table, 200)
    for count in (40, 45, 77, 199):
        with pytest.raises(Killed):
            write_table(table, until(count, photos(200)))
        assert not table.exists()
    listing = photos(200)
    assert write_table(table, listing).photos == 200
    assert table.read_bytes() == wanted
    assert min(listing.read) >= 96  # what was captioned before is not read again
    assert [path.name for path in table.parent.iterdir()] == [table.name]


def test_a_kill_at_any_step_loses_nothing(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process ends before, or in the middle of, each change that it makes to the disk."""
    wanted, steps = undisturbed(table, 70), 0
    step, limit = 0, 0

    def counted(change: Any) -> Any:
        def changed(*args: Any, **more: Any) -> Any:
            nonlocal step
            step += 1
            if step >= limit > 0:  # nor does a process that has ended do any other change
                raise Killed
            return change(*args, **more)

        return changed

    for owner, name in (
        *((Part, "append"), (Part, "sync"), (PartState, "write"), (Part, "keep_whole")),
        *((Path, "replace"), (Path, "unlink"), (table_sink, "sync_folder")),
    ):
        monkeypatch.setattr(owner, name, counted(getattr(owner, name)))
    while not table.exists() or table.read_bytes() != wanted or state_path(table).exists():
        steps += 1
        step, limit = 0, steps
        try:
            write_table(table, photos(70))
        except Killed:
            limit = 0
            write_again(table, wanted)
            clear(table)
    assert steps > 8


def write_again(table: Path, wanted: bytes) -> None:
    """Run as before, without a kill; a table that was finished to the last step is refused."""
    if table.exists() and not state_path(table).exists():
        with pytest.raises(ValueError, match="is there already"):
            write_table(table, photos(70))
    else:
        write_table(table, photos(70))
    assert table.read_bytes() == wanted
    names = {path.name for path in table.parent.iterdir() if not path.name.startswith(".")}
    assert names == {table.name}


def clear(table: Path) -> None:
    for path in table.parent.iterdir():
        path.unlink()


@pytest.mark.parametrize("cut", [1, 20, 200])
def test_a_row_that_was_cut_off_is_written_again(table: Path, cut: int) -> None:
    wanted = undisturbed(table, 100)
    with pytest.raises(Killed):
        write_table(table, until(99, photos(100)))
    part = part_path(table)
    part.write_bytes(part.read_bytes()[:-cut])
    write_table(table, photos(100))
    assert table.read_bytes() == wanted


@pytest.mark.parametrize("rubbish", [bytes(100), b"{}\n"[:2], b'[1]\n{"photo": 1}\n', b"\xff\n"])
def test_what_a_loss_of_power_left_is_dropped(table: Path, rubbish: bytes) -> None:
    wanted = undisturbed(table, 100)
    with pytest.raises(Killed):
        write_table(table, until(70, photos(100)))
    with open(part_path(table), "ab") as file:
        file.write(rubbish)
    write_table(table, photos(100))
    assert table.read_bytes() == wanted


def test_a_table_that_is_there_is_not_replaced_unasked(table: Path) -> None:
    table.parent.mkdir()
    table.write_bytes(b"mine")
    with pytest.raises(ValueError, match="is there already; add --overwrite"):
        write_table(table, photos(5))
    assert [path.name for path in table.parent.iterdir()] == [table.name]
    assert table.read_bytes() == b"mine"
    with pytest.raises(Killed):
        write_table(table, until(1, photos(40)), overwrite=True)
    assert table.read_bytes() == b"mine"
    write_table(table, photos(40), overwrite=True)
    assert table.read_bytes() == undisturbed(table, 40)


def test_a_file_beside_it_of_someone_else_is_left_alone(table: Path) -> None:
    table.parent.mkdir()
    part_path(table).write_bytes(b"mine")
    with pytest.raises(ValueError, match=r"\.part is there, and no earlier run has begun it"):
        write_table(table, photos(5))
    assert part_path(table).read_bytes() == b"mine"


def test_other_settings_are_refused_by_name(table: Path) -> None:
    before = {"the model": "ab", "--beam-size": 5, "the sources": ["a", "b c"], "--tokens": False}
    with pytest.raises(Killed):
        write_table(table, until(70, photos(100)), settings=before)
    rows = part_path(table).read_bytes()
    now = before | {"--beam-size": 3, "the sources": ["a"], "--consensus": True}
    with pytest.raises(ValueError, match="begun with other settings") as refused:
        write_table(table, photos(100), settings=now)
    changed = str(refused.value).split("settings: ")[1].split(". Give")[0]
    assert changed == (
        "--beam-size was 5 and is 3; the sources was a, b c and is a;"
        " --consensus was not given and is True"
    )
    assert part_path(table).read_bytes() == rows
    write_table(table, photos(100), settings=before)


def test_without_a_row_there_is_nothing_to_go_on_from(table: Path) -> None:
    with pytest.raises(Killed):
        write_table(table, until(0, photos(9)))
    assert not list(table.parent.iterdir())
    state = PartState({"--beam-size": 3}, kept=0)
    state.write(state_path(table))  # as a process leaves it that is killed at once
    part_path(table).touch()
    assert write_table(table, photos(9)).photos == 9


def test_other_photos_are_refused_by_name(table: Path) -> None:
    with pytest.raises(Killed):
        write_table(table, until(70, photos(100)))
    listing = list(photos(100))
    with pytest.raises(ValueError, match=r"photo 3 was photos/0002\.jpg, now it is photos/0003"):
        write_table(table, [*listing[:2], *listing[3:]])
    with pytest.raises(ValueError, match="now there are no more photos"):
        write_table(table, listing[:10])
    assert write_table(table, listing).photos == 100


def test_a_server_that_has_another_model_is_refused(table: Path) -> None:
    with pytest.raises(Killed):
        write_table(table, until(70, photos(100)))
    with pytest.raises(ValueError, match="the server now has cd"):
        write_table(table, photos(100), EchoEngine(model="cd" * 32))
    write_table(table, photos(100))


def test_existing_captions_are_kept_and_others_added(table: Path) -> None:
    first = photos(40)
    write_table(table, first)
    mended = [b"mended" if content == b"bad" else content for content in photos(90).contents]
    listing = CountedPhotos(mended)
    counts = write_table(table, listing, EchoEngine(model="cd" * 32), skip_existing=True)
    failed = [i for i in range(40) if i % 7 == 3]
    assert counts == Counts(len(failed) + 50, 0)
    assert sorted(listing.read) == sorted([*failed, *range(40, 90)])
    rows = list(FORMS[table.suffix].read(table))
    assert sorted(row["photo"] for row in rows) == [photo.name for photo in listing]
    assert {row["model"] for row in rows[: 40 - len(failed)]} == {"ab" * 32}
    assert {row["model"] for row in rows[40 - len(failed) :]} == {"cd" * 32}


def test_adding_to_a_table_is_gone_on_with_too(table: Path, tmp_path: Path) -> None:
    other = tmp_path / f"other{table.suffix}"
    for path in (table, other):
        write_table(path, photos(40))
    write_table(other, photos(200), skip_existing=True)
    for count in (110, 170):
        with pytest.raises(Killed):
            write_table(table, until(count, photos(200)), skip_existing=True)
    write_table(table, photos(200), skip_existing=True)
    assert table.read_bytes() == other.read_bytes()


def test_a_table_of_other_columns_is_not_added_to(table: Path) -> None:
    write_table(table, photos(3))
    before = table.read_bytes()
    with pytest.raises(ValueError, match=r"its columns are photo, .*, not photo, .*, tokens"):
        write_table(table, photos(5), EchoEngine(RowOptions(tokens=True)), skip_existing=True)
    assert table.read_bytes() == before
    assert [path.name for path in table.parent.iterdir()] == [table.name]


def test_two_processes_do_not_write_one_table(table: Path) -> None:
    table.parent.mkdir()
    with (
        Part.open(part_path(table)),
        pytest.raises(ValueError, match="being written by another process"),
    ):
        write_table(table, photos(3))


LIMITED = """
import resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000,) * 2)
from captioner.cli.messages import describe
from tests.captioner.bulk.fakes import photos, write_table
try:
    write_table(Path(sys.argv[1]), photos(400))
except OSError as error:
    print(describe(error))
"""


def test_a_disk_that_is_full_of_rows_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    """A limit of the process stands for the size of the disk."""
    table = tmp_path / "captions.csv"
    wanted = undisturbed(table, 400)
    root = Path(__file__).resolve().parents[3]
    command = [sys.executable, "-c", LIMITED, str(table)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout == f"{part_path(table)}: File too large\n"
    assert not table.exists()
    write_table(table, photos(400))
    assert table.read_bytes() == wanted


def test_a_disk_without_room_for_the_table_keeps_its_rows(
    table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = undisturbed(table, 50)

    def write(path: Path, *_: Any) -> None:
        path.write_bytes(b"photo,capt")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(FORMS[table.suffix], "write", write)
        with pytest.raises(OSError, match="No space left on device") as raised:
            write_table(table, photos(50))
    assert raised.value.filename == str(table)
    assert set(table.parent.iterdir()) == {part_path(table), state_path(table)}
    listing = photos(50)
    write_table(table, listing)
    assert table.read_bytes() == wanted
    assert not listing.read


def test_rows_are_json_lines_while_they_are_written(table: Path) -> None:
    with pytest.raises(Killed):
        write_table(table, until(70, photos(100)))
    lines = part_path(table).read_text().splitlines()
    assert [json.loads(line)["photo"] for line in lines] == [
        p.name for p in islice(photos(100), 32)
    ]
