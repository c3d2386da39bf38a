from __future__ import annotations

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from model import image
from model.image import InvalidImage
from tests.model.image.photos import PNG, bomb
from tests.model.image.pictures import saved


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_described_as_it_is_after_turning(format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(Image.new("RGB", (60, 40)), format, exif=exif)
    info = image.describe(data)
    assert info.format == format
    assert (
        info[:2] == image.open_rgb(data, 1000).size == ((40, 60) if orientation > 4 else (60, 40))
    )


def test_describing_decodes_no_png(monkeypatch: pytest.MonkeyPatch) -> None:
    """The exception is a PNG with EXIF, which may come after its pixels."""
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = saved(Image.new("RGB", (60, 40)), "PNG", exif=exif)
    start, end = turned.index(b"eXIf") - 4, turned.index(b"IDAT") - 4
    behind = turned[:start] + turned[end:-12] + turned[start:end] + turned[-12:]
    for data in (turned, behind):
        assert image.describe(data) == (40, 60, "PNG")
        assert image.open_rgb(data, 1).size == (40, 60)

    plain = saved(Image.new("RGB", (60, 40)), "PNG")
    loaded: list[object] = []
    monkeypatch.setattr(PngImageFile, "load", lambda photo: loaded.append(photo))
    assert image.describe(plain) == (60, 40, "PNG")
    assert not loaded


def test_describing_reads_the_header_only() -> None:
    assert image.describe(PNG[: len(PNG) // 2]) == (64, 64, "PNG")
    assert image.describe(saved(Image.new("RGB", (60, 40)), "MPO")).format == "JPEG"
    for data in (b"", b"hello", bomb(30_000, 30_000), b"%PDF-1.7\n" + bytes(100)):
        with pytest.raises(InvalidImage):
            image.describe(data)
