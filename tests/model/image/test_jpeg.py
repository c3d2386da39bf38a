from __future__ import annotations

from typing import Any

import pytest
from PIL import Image

from model import image
from model.image import InvalidImage, jpeg
from tests.model.image.photos import photo
from tests.model.image.pictures import saved

JPEGS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "progressive": {"progressive": True},
    "with restarts": {"restart_marker_blocks": 7},
    "grey": {},
    "of inks": {},
}


@pytest.mark.parametrize("kind", JPEGS)
@pytest.mark.parametrize("size", [(90, 70), (1600, 1200)])
def test_a_jpeg_that_lacks_only_its_end_is_a_photo(kind: str, size: tuple[int, int]) -> None:
    mode = {"grey": "L", "of inks": "CMYK"}.get(kind, "RGB")
    data = saved(photo(*size).convert(mode), "JPEG", quality=90, **JPEGS[kind])
    whole = image.decode(data, 40)
    assert data.endswith(b"\xff\xd9")
    for lacking in (1, 2):
        assert (image.decode(data[:-lacking], 40) == whole).all()


@pytest.mark.parametrize("kind", JPEGS)
def test_a_jpeg_that_lacks_more_is_damaged(kind: str) -> None:
    mode = {"grey": "L", "of inks": "CMYK"}.get(kind, "RGB")
    data = saved(photo(900, 700).convert(mode), "JPEG", quality=90, **JPEGS[kind])
    restart = data.rfind(b"\xff\xd3")  # where a part ends, if it has such
    for lacking in (20, 100, 1000, len(data) // 3, len(data) // 2, len(data) - max(restart, 9000)):
        with pytest.raises(InvalidImage, match="damaged"):
            image.decode(data[:-lacking], 40)


def test_a_jpeg_of_many_pixels_without_its_end_is_not_decoded_over_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = saved(photo(90, 70), "JPEG")[:-2]
    assert image.decode(data, 40).shape == (3, 40, 40)
    monkeypatch.setattr(jpeg, "MAX_PIXELS_WITHOUT_END", 90 * 70 - 1)
    with pytest.raises(InvalidImage, match="damaged"):
        image.decode(data, 40)


def test_a_jpeg_of_too_many_scans() -> None:
    """Each scan visits all pixels: a file of few kilobytes would take hours."""
    picture = Image.new("RGB", (4000, 4000))
    data = saved(picture, "JPEG", progressive=True)
    scan = data[data.rindex(b"\xff\xda") : -2]
    assert image.decode(data, 32).shape == (3, 32, 32)
    with pytest.raises(InvalidImage, match=r"\d+ scans, too many"):
        image.decode(data[:-2] + scan * 300 + data[-2:], 32)
