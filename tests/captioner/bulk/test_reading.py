"""Photos are read ahead, in order, and few at a time."""

from __future__ import annotations

import itertools

import pytest

from captioner.bulk import reading
from captioner.bulk.photo import Photo
from captioner.bulk.reading import Unreadable, read_ahead
from captioner.bulk.row import Row
from captioner.bulk.run import Counts, caption_all
from tests.captioner.bulk.fakes import CountedPhotos, EchoEngine, photos


def test_photos_come_in_order_with_their_bytes() -> None:
    listing = photos(100)
    found = list(read_ahead(listing))
    assert [photo.name for photo, _ in found] == [photo.name for photo in listing]
    assert [content for _, content in found] == listing.contents
    assert sorted(listing.read) == list(range(100))


def test_an_error_of_reading_stands_in_the_place_of_the_bytes() -> None:
    good = Photo("good.jpg", lambda: b"good")
    found = list(read_ahead([good, Photo.unreadable("bad", "it is a\nfolder"), good]))
    assert [content for _, content in found] == [b"good", Unreadable("it is a folder"), b"good"]


def test_few_photos_are_listed_and_read_before_they_are_wanted() -> None:
    listing = photos(1000)
    ahead = read_ahead(listing)
    for taken in range(1, 200):
        next(ahead)
        assert len(listing.read) <= taken + reading.MAX_PHOTOS_AHEAD
        assert listing.listed <= taken + reading.MAX_PHOTOS_AHEAD
    ahead.close()


def test_large_photos_are_read_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_BYTES_AHEAD", 1000)
    monkeypatch.setattr(reading, "THREADS", 1)
    listing = CountedPhotos([bytes(1001)] * 50)
    ahead = read_ahead(listing)
    for _ in range(20):
        next(ahead)
    # Those that were begun before the first of them was there; then each waits for room.
    assert listing.listed <= 20 + reading.MAX_PHOTOS_AHEAD
    ahead.close()


class CountingSink:
    """Checks at every row how many photos were read that are not written yet."""

    def __init__(self, listing: CountedPhotos, bound: int) -> None:
        self.listing, self.bound, self.rows = listing, bound, 0

    def unwritten(self, photos):
        return iter(photos)

    def write(self, row: Row) -> None:
        self.rows += 1
        assert len(self.listing.read) - self.rows <= self.bound

    def finish(self) -> Counts:
        return Counts(self.rows)


@pytest.mark.parametrize("count", [130, 260])
def test_no_more_photos_are_held_however_many_there_are(
    count: int, tiny_checkpoint, render
) -> None:
    """The real captioner holds a window of reading, a batch that is decoded, one captioned."""
    from captioner.bulk.engines import LocalEngine
    from captioner.bulk.row import RowOptions
    from model import Captioner, DecodingOptions
    from model.captioner import BATCH_SIZE

    listing = CountedPhotos(list(itertools.repeat(render(size=(16, 16)), count)))
    captioner = Captioner.load(tiny_checkpoint)
    engine = LocalEngine(captioner, DecodingOptions(1, max_length=2), RowOptions(), "ab")
    sink = CountingSink(listing, reading.MAX_PHOTOS_AHEAD + 2 * BATCH_SIZE)
    assert caption_all(listing, engine, sink).photos == count


def test_an_engine_of_the_tests_holds_few_photos_too() -> None:
    listing = photos(500)
    sink = CountingSink(listing, reading.MAX_PHOTOS_AHEAD + 1)
    assert caption_all(listing, EchoEngine(), sink).photos == 500
