from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import inputs
from model import image


def test_synthetic_photos_are_jpegs_that_weigh_what_photos_do() -> None:
    photos = inputs.photos(3, None)
    assert len(set(photos)) == 3
    for photo in photos:
        with Image.open(io.BytesIO(photo)) as opened:
            opened.load()
            assert (opened.format, opened.mode, opened.size) == ("JPEG", "RGB", inputs.FLICKR)
            assert np.asarray(opened).std() > 20
        assert 40_000 < len(photo) < 100_000


def test_the_same_seed_gives_the_same_bytes() -> None:
    size = (160, 120)
    assert inputs.synthetic_photo(5, size) == inputs.synthetic_photo(5, size)
    assert inputs.synthetic_photo(5, size) != inputs.synthetic_photo(6, size)


def test_large_photos_repeat() -> None:
    photos = inputs.large_photos(6, (80, 60))
    assert photos[4:] == photos[:2]
    assert len(set(photos)) == 4


def test_photos_of_a_folder_come_by_name(tmp_path: Path, render) -> None:
    for name, color in (("b.JPG", "blue"), ("a.jpeg", "red"), ("c.png", "green")):
        (tmp_path / name).write_bytes(render(color))
    red, blue = render("red"), render("blue")
    assert inputs.photos(3, tmp_path) == [red, blue, red]
    assert inputs.photos(1, tmp_path) == [red]


def test_a_folder_without_photos_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"{tmp_path} holds no"):
        inputs.photos(1, tmp_path)


def test_decoding_in_full_is_decoding_where_nothing_is_skipped(render) -> None:
    photo = render(size=(100, 80))
    assert torch.equal(inputs.decode_fully(photo, 64), image.decode(photo, 64))


def test_made_up_words() -> None:
    assert len(inputs.word_map(50)) == 50
