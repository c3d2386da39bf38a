from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from model.attention_overlay import overlay, stretch


def one_hot(row: int, column: int, side: int = 4) -> np.ndarray:
    attention = np.zeros((side, side), np.float32)
    attention[row, column] = 1
    return attention


def even(side: int) -> np.ndarray:
    return np.full((side, side), 1 / side**2, np.float32)


def grey_photo(light: int, size: tuple[int, int] = (64, 64)) -> Image.Image:
    return Image.new("RGB", size, (light, light, light))


@pytest.mark.parametrize("smooth", [True, False])
def test_a_map_is_stretched_to_the_shape_of_the_photo(smooth: bool) -> None:
    stretched = stretch(one_hot(0, 3), (40, 120), smooth)
    assert stretched.shape == (40, 120)
    row, column = np.unravel_index(stretched.argmax(), stretched.shape)
    assert row < 10
    assert column >= 90
    np.testing.assert_allclose(stretch(even(4), (40, 120), smooth), 1 / 16, rtol=1e-5)


def test_without_smoothing_every_pixel_has_the_value_of_its_cell() -> None:
    attention = np.random.default_rng(0).random((7, 7), np.float32)
    expected = attention.repeat(5, axis=0).repeat(3, axis=1)
    np.testing.assert_array_equal(stretch(attention, (35, 21), smooth=False), expected)


@pytest.mark.parametrize("smooth", [True, False])
@pytest.mark.parametrize("light", [0, 128, 255])
def test_attention_is_bright_and_coloured_on_dark_and_light_photos(
    light: int, smooth: bool
) -> None:
    photo = grey_photo(light, (160, 80))
    shown = np.asarray(overlay(photo, one_hot(1, 2), smooth)).astype(float)
    inside, outside = shown[30, 100], shown[70, 10]
    assert inside.mean() > outside.mean() + 40
    assert np.ptp(inside) > 80
    assert np.ptp(outside) < 1


def test_even_attention_has_no_colour() -> None:
    assert np.ptp(np.asarray(overlay(grey_photo(120), even(7))), axis=2).max() <= 1


def test_the_scale_is_the_same_for_every_map() -> None:
    wide = np.zeros((8, 8), np.float32)
    wide[:, :4] = 1 / 32  # twice an even share, over half of the photo
    faint, strong = (
        np.asarray(overlay(grey_photo(120), attention, smooth=False)).astype(int)
        for attention in (wide, one_hot(0, 0, 8))
    )
    assert np.ptp(faint[4, 4]) < 0.6 * np.ptp(strong[4, 4])
