from __future__ import annotations

import pytest
from PIL import ImageFile

from model import InvalidImage, image
from model.image.cost import COSTS, SCAN_COST, estimate
from tests.hostile import crafted, png, valid_photos


@pytest.mark.parametrize("name", valid_photos())
def test_every_format_has_its_cost(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    photo = valid_photos()[name]
    info = image.describe(photo)

    def load(*_: object) -> None:
        raise AssertionError("an estimate has decoded the photo")

    for opened in (ImageFile.ImageFile, *ImageFile.ImageFile.__subclasses__()):
        monkeypatch.setattr(opened, "load", load)
    with pytest.raises(InvalidImage, match="decoded the photo"):
        image.decode(photo, 8)
    cost = estimate(photo)
    assert cost.pixels == info.width * info.height
    a_megapixel, a_megabyte = COSTS[info.format]
    least = (a_megapixel * cost.pixels + a_megabyte * len(photo)) / 1e6
    assert least <= cost.seconds <= least + 20 * SCAN_COST * cost.pixels / 1e6


def test_all_formats_have_a_cost() -> None:
    assert COSTS.keys() == {*image.FORMATS, "HEIC"}


def test_a_bomb_costs_its_pixels() -> None:
    bomb = png(10_000, 10_000, bytes(10_001 * 10_000))
    assert len(bomb) < 200_000
    cost = estimate(bomb)
    assert cost.pixels == 100_000_000
    assert cost.seconds > 100 * COSTS["PNG"][0]


def test_every_scan_of_a_progressive_jpeg_costs() -> None:
    photos = valid_photos()
    scans = image.read_header(photos["jpeg progressive"]).scans
    assert scans > 5
    assert image.read_header(photos["jpeg"]).scans == 1
    thousand = crafted()["jpeg of a thousand scans"]
    with pytest.raises(InvalidImage, match="scans"):
        estimate(thousand)


@pytest.mark.parametrize("photo", [b"", b"not one", crafted()["png over 100 million pixels"]])
def test_a_photo_that_will_be_refused_has_no_cost(photo: bytes) -> None:
    with pytest.raises(InvalidImage):
        estimate(photo)
