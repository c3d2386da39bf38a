"""Random changes of photos: what each kind may do, and what it leaves alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as transforms

from training.data import augmentation
from training.data.augmentation import Augmentation, recoloured

SIDE = 96
WHOLE = Augmentation(crop=1.0)


@pytest.fixture
def photo() -> torch.Tensor:
    """A photo in which no value is so low or high that a change of 0.3 would cut it off."""
    generator = torch.Generator().manual_seed(1)
    return torch.randint(80, 120, (3, SIDE, SIDE), generator=generator).to(torch.uint8)


def draws(
    changes: Augmentation, photo: torch.Tensor, may_flip: bool = True, count: int = 60
) -> Iterator[torch.Tensor]:
    for seed in range(count):
        random = np.random.default_rng(seed)
        yield changes.augmented(photo, random, may_flip)


def test_a_crop_keeps_the_share_it_is_asked_to() -> None:
    """The photo grows brighter to the right: a narrower crop shows less of that."""
    ramp = torch.arange(0, 2 * SIDE, 2, dtype=torch.uint8).expand(3, SIDE, SIDE)

    def smallest_width(crop: float) -> float:
        lines = [p[0, 50].int() for p in draws(Augmentation(crop), ramp, may_flip=False)]
        return min((line[90] - line[5]).item() for line in lines) / (2 * 85)

    assert smallest_width(1.0) > 0.9  # the aspect alone
    assert 0.75 < smallest_width(0.7) < 0.9
    assert 0.45 < smallest_width(0.3) < 0.65
    assert smallest_width(0.01) < 0.3


def test_only_photos_that_may_be_are_flipped() -> None:
    ramp = torch.arange(SIDE, dtype=torch.uint8).expand(3, SIDE, SIDE)

    def rises(may_flip: bool) -> set[bool]:
        return {bool(p[0, 50, 90] > p[0, 50, 5]) for p in draws(WHOLE, ramp, may_flip)}

    assert rises(may_flip=True) == {True, False}
    assert rises(may_flip=False) == {True}


@pytest.mark.parametrize(
    "changes", [WHOLE, Augmentation(0.01), Augmentation(0.5, colour=0.9, erase=1.0)]
)
def test_a_changed_photo_is_a_new_one_of_the_same_size(
    photo: torch.Tensor, changes: Augmentation
) -> None:
    before = photo.clone()
    for changed in draws(changes, photo, count=10):
        assert changed.shape == photo.shape
        assert changed.dtype == torch.uint8
    assert torch.equal(photo, before)


@pytest.mark.parametrize("factors", [(1.0, 1.0, 1.0), (0.7, 1.3, 0.8), (1.2, 0.6, 1.4)])
def test_colours_change_as_torchvision_changes_them(
    photo: torch.Tensor, factors: tuple[float, float, float]
) -> None:
    """Without the rounding between its three functions, and where nothing is cut off."""
    brightness, contrast, saturation = factors
    wanted = transforms.adjust_brightness(photo / 255, brightness)
    wanted = transforms.adjust_contrast(wanted, contrast)
    wanted = 255 * transforms.adjust_saturation(wanted, saturation)
    assert (recoloured(photo, *factors) - wanted).abs().max() < 0.55


def test_each_factor_of_colour_is_drawn_by_itself(
    photo: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[float, ...]] = []

    def watched(pixels: torch.Tensor, *factors: float) -> torch.Tensor:
        drawn.append(factors)
        return pixels

    monkeypatch.setattr(augmentation, "recoloured", watched)
    pairs = zip(draws(WHOLE, photo), draws(Augmentation(1.0, colour=0.3), photo), strict=True)
    assert all(torch.equal(plain, changed) for plain, changed in pairs)  # the same crops, flips
    for factors in zip(*drawn, strict=True):
        assert 0.7 <= min(factors) < 0.75
        assert 1.25 < max(factors) <= 1.3
    assert abs(np.corrcoef(np.transpose(drawn)) - np.eye(3)).max() < 0.4


def test_grey_stays_grey_and_what_is_too_bright_is_white() -> None:
    grey_photo = torch.arange(0, 256, 2, dtype=torch.uint8).expand(3, 128, 128)
    brightest = []
    for changed in draws(Augmentation(1.0, colour=0.9), grey_photo, may_flip=False):
        assert torch.equal(changed[0], changed[1])
        assert torch.equal(changed[0], changed[2])
        assert (changed[0].int().diff() >= 0).all()  # nothing overflows
        brightest.append(changed.max().item())
    assert max(brightest) == 255


def test_a_rectangle_is_filled_with_the_mean_colour(photo: torch.Tensor) -> None:
    shares, tops, lefts = [], set(), set()
    erasing = draws(Augmentation(1.0, erase=1.0), photo)
    for plain, erased in zip(draws(WHOLE, photo), erasing, strict=True):
        mean = plain.float().mean((1, 2)).round().to(torch.uint8)[:, None, None]
        rows, columns = (erased != plain).any(0).nonzero().T
        top, bottom, left, right = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
        assert (erased[:, top:bottom, left:right] == mean).all()
        shares.append(((bottom - top) * (right - left)).item() / SIDE**2)
        tops.add(top.item())
        lefts.add(left.item())
    assert min(shares) > 0.015
    assert max(shares) < 0.21
    assert max(shares) > 3 * min(shares)
    assert min(len(tops), len(lefts)) > 15


def test_as_many_photos_are_erased_as_asked(photo: torch.Tensor) -> None:
    """Crops and flips are the same whether or not more is on."""
    pairs = zip(draws(WHOLE, photo), draws(Augmentation(1.0, erase=0.25), photo), strict=True)
    same = [torch.equal(plain, erased) for plain, erased in pairs]
    assert 5 <= same.count(False) <= 25


def test_the_number_of_threads_changes_no_colour(photo: torch.Tensor) -> None:
    changes = Augmentation(0.5, colour=0.4, erase=0.5)
    large = photo.repeat(1, 3, 3)
    threads = torch.get_num_threads()
    alone = list(draws(changes, large, count=10))
    try:
        torch.set_num_threads(2)
        together = list(draws(changes, large, count=10))
    finally:
        torch.set_num_threads(threads)
    assert all(map(torch.equal, alone, together))
