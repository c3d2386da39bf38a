from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from PIL import Image

from captioner.paths import ROOT
from model import image
from model.image import InvalidImage, UnsupportedFormat, decoding, samples
from tests.model.image.photos import heic, mean_color, photo
from tests.model.image.pictures import saved


def test_heic() -> None:
    data = heic(Image.new("RGB", (64, 48), (200, 100, 50)))
    assert np.allclose(mean_color(data), (200, 100, 50), atol=6)
    assert image.describe(data) == (64, 48, "HEIC")
    assert "HEIC" in image.accepted()
    with pytest.raises(InvalidImage, match="damaged"):
        image.decode(data[: len(data) // 2], 32)


def test_heic_rotation() -> None:
    picture = Image.new("RGB", (80, 40), "white")
    picture.paste("black", (0, 0, 80, 20))  # upper half
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise: the top is then on the right
    data = heic(picture, exif=exif.tobytes())
    pixels = image.decode(data, 32).float()
    assert pixels[:, :, 20:].mean() < 20
    assert pixels[:, :, :12].mean() > 235
    assert image.describe(data) == (40, 80, "HEIC")


@pytest.mark.slow
def test_a_heic_is_read_from_a_thumbnail_that_is_large_enough(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    picture = photo(1600, 1200)
    data = heic(picture, thumbnails=[160, 640])
    read, flatten = [], samples.flatten

    def spied(loaded: Image.Image, *rest: Any, **more: Any) -> Image.Image:
        read.append(loaded.size)
        return flatten(loaded, *rest, **more)

    monkeypatch.setattr(decoding, "flatten", spied)
    found = image.decode(data, 100).float()
    assert image.open_rgb(data, 1000).width > 1000
    assert read == [(640, 480), (1600, 1200)]
    assert (found - image.decode(saved(picture), 100).float()).abs().mean() < 2
    assert image.describe(data) == (1600, 1200, "HEIC")


def test_heic_without_its_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    data = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)
    with pytest.raises(UnsupportedFormat, match=r"HEIC.*pip install .*heic.*; accepted: [^H]*$"):
        image.decode(data, 32)
    assert mean_color(saved(Image.new("RGB", (9, 9), (1, 2, 3)))) == (1, 2, 3)


def test_avif_needs_no_decoder_of_heic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    data = saved(Image.new("RGB", (64, 48), (200, 100, 50)), "AVIF")
    size = int.from_bytes(data[:4], "big")
    any_codec = data[:8] + b"mif1" + data[12:]
    assert b"avif" in any_codec[16:size]
    for each in (data, any_codec):
        assert image.describe(each) == (64, 48, "AVIF")


@pytest.mark.slow
def test_decoder_of_heic_is_loaded_late() -> None:
    code = (
        "import sys, io, model.image as i; from PIL import Image; b = io.BytesIO();"
        " Image.new('RGB', (9, 9)).save(b, 'AVIF'); i.decode(b.getvalue(), 9); i.accepted();"
        " sys.exit('pillow_heif' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
