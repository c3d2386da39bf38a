"""Photos that appear in a watched folder are captioned once each, when they are complete."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from captioner.bulk import watching
from captioner.bulk.row import Row
from captioner.bulk.run import Counts
from captioner.bulk.sources.listing import Listing
from captioner.bulk.watching import StopSignals, Watched, caption_watched, check_folders
from tests.captioner.bulk.fakes import EchoEngine

PATIENCE = 60.0  # seconds after which a test gives up waiting


class ListSink:
    """Keeps rows."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def unwritten(self, photos):
        return iter(photos)

    def write(self, row: Row) -> None:
        self.rows.append(row)

    def flush(self) -> None:
        pass

    def finish(self) -> Counts:
        return Counts(len(self.rows), sum(row.failed for row in self.rows))

    @property
    def captions(self) -> dict[str, str | None]:
        return {row.photo: row.caption or row.error for row in self.rows}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "SECONDS_UNCHANGED", 0.3)
    monkeypatch.setattr(watching, "MILLISECONDS_OF_A_STEP", 50)


@contextmanager
def watched(*folders: Path | str, recursive: bool = True) -> Iterator[ListSink]:
    """Watch folders in a thread for the block, from when the watching has begun."""
    sink, begun = ListSink(), threading.Event()
    photos = Watched(Listing([*map(str, folders)], recursive))
    rounds = photos.rounds

    def announced() -> Iterator:
        for photos_of_round in rounds():
            begun.set()
            yield photos_of_round

    photos.rounds = announced  # type: ignore[method-assign]
    thread = threading.Thread(target=caption_watched, args=(photos, EchoEngine(), sink))
    thread.start()
    try:
        assert begun.wait(PATIENCE)
        yield sink
    finally:
        photos.stop.set()
        thread.join(PATIENCE)
        assert not thread.is_alive()


def wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < end, "it never became so"
        time.sleep(0.02)


def test_what_is_there_comes_first_and_then_what_appears(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"a dog")
    (tmp_path / "notes.md").write_bytes(b"none")
    with watched(tmp_path) as sink:
        wait_until(lambda: len(sink.rows) == 1)
        (tmp_path / "b.jpg").write_bytes(b"a cow")
        (tmp_path / ".hidden").mkdir()
        (tmp_path / ".hidden" / "x.jpg").write_bytes(b"none")
        (tmp_path / ".c.part").write_bytes(b"a hen")
        (tmp_path / ".c.part").rename(tmp_path / "c.jpg")
        wait_until(lambda: len(sink.rows) == 3)
    assert sink.captions == {
        f"{tmp_path}/a.jpg": "a dog",
        f"{tmp_path}/b.jpg": "a cow",
        f"{tmp_path}/c.jpg": "a hen",
    }
    assert len(sink.rows) == 3


def test_names_are_those_of_the_listing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    with watched("./in/") as sink:
        Path("in/a.jpg").write_bytes(b"a dog")
        wait_until(lambda: len(sink.rows) == 1)
    assert [row.photo for row in sink.rows] == [photo.name for photo in Listing(["./in/"])]


@pytest.mark.parametrize("recursive", [True, False])
def test_a_folder_that_appears_with_its_photos(tmp_path: Path, recursive: bool) -> None:
    inbox, other = tmp_path / "in", tmp_path / "other"
    (other / "deep").mkdir(parents=True)
    inbox.mkdir()
    (other / "deep" / "a.jpg").write_bytes(b"a dog")
    with watched(inbox, recursive=recursive) as sink:
        other.rename(inbox / "new")
        (inbox / "last.jpg").write_bytes(b"a cow")
        wait_until(lambda: len(sink.rows) == 1 + recursive)
    wanted = {f"{inbox}/last.jpg"} | ({f"{inbox}/new/deep/a.jpg"} if recursive else set())
    assert sink.captions.keys() == wanted


def test_a_photo_that_is_being_written_waits(tmp_path: Path) -> None:
    """One that is there at the start and one that appears, each half written and kept open."""
    with open(tmp_path / "a.jpg", "wb", buffering=0) as there:
        there.write(b"a ")
        with (
            watched(tmp_path) as sink,
            open(tmp_path / "b.jpg", "wb", buffering=0) as new,
        ):
            new.write(b"b")
            (tmp_path / "whole.jpg").write_bytes(b"a cow")
            wait_until(lambda: len(sink.rows) == 1)  # longer than halves stay unchanged
            there.write(b"dog")
            new.write(b"ad")
            there.close()
            new.close()
            wait_until(lambda: len(sink.rows) == 3)
    assert {*sink.captions.values()} == {"a cow", "a dog", "not an image"}


def test_a_photo_that_stays_open_does_not_wait_forever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "SECONDS_OPEN", 0.6)
    with watched(tmp_path) as sink, open(tmp_path / "a.jpg", "wb", buffering=0) as photo:
        photo.write(b"a dog")
        wait_until(lambda: len(sink.rows) == 1)
    assert sink.captions == {f"{tmp_path}/a.jpg": "a dog"}


def test_a_photo_that_failed_comes_again_only_when_it_changes(tmp_path: Path) -> None:
    photo = tmp_path / "a.jpg"
    photo.write_bytes(b"bad")
    with watched(tmp_path) as sink:
        wait_until(lambda: len(sink.rows) == 1)
        os.utime(photo, ns=(1, photo.stat().st_mtime_ns))  # its content is the same
        (tmp_path / "b.jpg").write_bytes(b"a cow")
        wait_until(lambda: sink.captions.get(f"{tmp_path}/b.jpg") is not None)
        photo.write_bytes(b"a dog")
        wait_until(lambda: sink.captions[str(photo)] == "a dog")
        photo.write_bytes(b"a cat")  # one that is captioned does not
        (tmp_path / "c.jpg").write_bytes(b"a hen")
        wait_until(lambda: f"{tmp_path}/c.jpg" in sink.captions)
    assert sink.captions[str(photo)] == "a dog"


def test_a_photo_that_is_gone_again_is_forgotten(tmp_path: Path) -> None:
    with watched(tmp_path) as sink:
        (tmp_path / "a.jpg").write_bytes(b"a dog")
        (tmp_path / "a.jpg").rename(tmp_path / "b.jpg")
        wait_until(lambda: len(sink.rows) == 1)
    assert sink.captions == {f"{tmp_path}/b.jpg": "a dog"}


def test_only_folders_of_this_machine_are_watched(tmp_path: Path) -> None:
    check_folders([str(tmp_path)])
    for source in (str(tmp_path / "none"), __file__, "s3://bucket/photos", "-"):
        with pytest.raises(ValueError, match="is no folder of this machine"):
            check_folders([source])


def test_the_second_signal_interrupts() -> None:
    stop, before = threading.Event(), signal.getsignal(signal.SIGTERM)
    with StopSignals(stop):
        signal.raise_signal(signal.SIGTERM)
        assert stop.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == before
