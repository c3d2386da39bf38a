from __future__ import annotations

import pytest
from PIL import Image

from model.image import FORMATS
from model.photo_names import PHOTO_ENDINGS, is_photo_name


def test_every_format_that_is_read_has_its_endings() -> None:
    Image.init()
    registered = Image.registered_extensions().items()
    known = {ending for ending, name in registered if name in (*FORMATS, "MPO", "HEIF")}
    unusual = {".apng", ".avifs", ".heics", ".heifs", ".j2k"}  # moving pictures
    assert known - unusual <= set(PHOTO_ENDINGS)
    assert {".heic", ".heif"} <= set(PHOTO_ENDINGS)  # whether or not its decoder is installed


@pytest.mark.parametrize("name", ["a.jpg", "a.b.JPeG", "./a.png", "../.hidden/a.jpg", "ä b.HEIC"])
def test_names_of_photos(name: str) -> None:
    assert is_photo_name(name)


@pytest.mark.parametrize("name", ["", "jpg", ".jpg", "a/.b.jpg", "a.jpg.txt", "a.jpg/b", "ajpg"])
def test_names_of_other_files(name: str) -> None:
    assert not is_photo_name(name)
