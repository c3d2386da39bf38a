"""Every encoding is shown as it was meant, or refused by name; ImageMagick shows the same."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model import image
from tests.model.image.encodings import encodings
from tests.model.image.pictures import HEIGHT, RGB, WIDTH, Array, Encoded

# Those that may be refused, by name; if they are shown, then right.
MAY_BE_REFUSED = re.compile(
    r"jpeg 12 bits|tiff webp|BigTIFF big-endian|signed|floats|lab 16|rgb 4 bits"
    r"|(rgb|negative) 32 bits"
    r"|grey (12|32) bits.* big-endian|negative 16 bits.* big-endian"
    r"|grey and (alpha|more) 16 bits|and more 8 bits planar( tiles| big-endian)?$"
    r"|((12|16|32) bits|alpha.*|more.*|rgba.*|associated.*|cmyk.*|ycbcr).* reversed bits"
    r"|(negative 8|palette [124]) bits reversed bits$"
)
NAMED = re.compile(
    r"this is a (TIFF|JPEG) (of|that|packed) .*, which is not read; save it with 8 bits a channel"
    r"|images of floating-point numbers are not supported"
)
# What ImageMagick 6 itself shows wrong: it forgets that 0 is white, takes alpha in a plane of its
# own for grey, scales Lab in its own way, and reads AVIF and
# HEIC by way of 4:2:0.
NOT_OF_REFERENCE = re.compile(
    r"negative (2|4|32) bits|grey (and|associated).* planar|lab|avif (4:4:4|alpha)|heic"
)


@cache
def known() -> dict[str, Encoded]:
    return encodings()


def shown(data: bytes) -> Array:
    return np.asarray(image.open_rgb(data, min_side=10_000))


def difference(one: Array, other: Array) -> float:
    """Return the mean difference, of 255; 255 for shapes that differ."""
    if one.shape != other.shape:
        return 255
    return float(np.abs(one.astype(float) - other).mean())


@pytest.mark.parametrize("format", ["jpeg", "png", "tiff", "bmp", "gif", "webp", "avif", "heic"])
def test_every_encoding_is_shown_right_or_refused_by_name(format: str) -> None:
    wrong = {}
    cases = {name: case for name, case in known().items() if name.startswith(format)}
    if format == "heic" and "HEIC" not in image.accepted():
        pytest.skip("pillow-heif is not installed")
    assert cases
    for name, case in cases.items():
        try:
            error = difference(shown(case.data), case.pixels)
        except image.InvalidImage as refusal:
            if not MAY_BE_REFUSED.search(name) or not NAMED.match(str(refusal)):
                wrong[name] = str(refusal)
        else:
            if error > case.error:
                wrong[name] = f"{error:.1f} of 255 away"
    assert not wrong


def reference(tool: str) -> list[str]:
    """Return the command of one of ImageMagick's tools, which .ci/run installs."""
    for command in ([f"{tool}-im6.q16"], ["magick", tool]):
        if shutil.which(command[0]):
            return command
    pytest.skip("ImageMagick is not installed; .ci/run installs it")


def by_reference(files: dict[str, bytes], folder: Path) -> dict[str, Array]:
    """Return the pictures as ImageMagick shows them, without those that it cannot read."""
    named = {}
    for i, (name, data) in enumerate(files.items()):
        named[name] = folder / f"{i}.{name.split()[0]}"
        named[name].write_bytes(data)
    for suffix in {path.suffix for path in named.values()}:
        paths = [path for path in named.values() if path.suffix == suffix]
        # It warns, and ends with 1, of files that it cannot read.
        subprocess.run(
            [*reference("mogrify"), "-format", "ppm", "-background", "white", "-alpha", "remove",
             "-depth", "8", *paths],
            capture_output=True, timeout=120,
        )  # fmt: skip
    found = {}
    for name, path in named.items():
        out = path.with_suffix(".ppm")
        if out.exists() and out.stat().st_size > WIDTH:  # else it has no pixels
            with Image.open(out) as picture:
                found[name] = np.asarray(picture.convert("RGB"))
    return found


def test_another_decoder_shows_the_same(tmp_path: Path) -> None:
    readable = {name: case for name, case in known().items() if not NOT_OF_REFERENCE.search(name)}
    theirs = by_reference({name: case.data for name, case in readable.items()}, tmp_path)
    wrong, compared = {}, 0
    for name, pixels in theirs.items():
        try:
            error = difference(shown(readable[name].data), pixels)
        except image.InvalidImage:
            continue  # the test above sees to it
        compared += 1
        if error > max(1, readable[name].error):
            wrong[name] = error
    assert not wrong
    assert compared > 400


def test_the_picture_shows_faults() -> None:
    assert RGB.shape == (HEIGHT, WIDTH, 3)
    assert RGB.std() > 60  # a picture that is all grey would hide faults
