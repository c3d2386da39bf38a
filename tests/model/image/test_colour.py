from __future__ import annotations

import io
import struct
import subprocess
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from model import image
from model.image import InvalidImage, colour
from model.image.profiles import MAX_PROFILE, matrix_profile
from tests.model.image.colours import (
    SPACES,
    SRGB,
    WHITE,
    decoded,
    encoded,
    grey_profile,
    ink_profile,
    inside,
    profile,
    with_profile,
)
from tests.model.image.pictures import GREY, HEIGHT, RGB, WIDTH, Array, deep, saved
from tests.model.image.png_files import chunk, png
from tests.model.image.test_encodings import difference, reference, shown
from tests.model.image.tiff_files import tiff

SAVED: dict[str, Callable[[Array, bytes], bytes]] = {
    "JPEG": lambda p, icc: with_profile("JPEG", p, icc, quality=99, subsampling="4:4:4"),
    "PNG": lambda p, icc: with_profile("PNG", p, icc),
    "PNG with alpha": lambda p, icc: with_profile(
        "PNG", np.dstack([p, np.full(p.shape[:2], 255, np.uint8)]), icc
    ),
    "PNG of 16 bits": lambda p, icc: png(
        deep(p, 16), 16, 2, chunk(b"iCCP", b"icc\0\0" + zlib.compress(icc))
    ),
    "TIFF": lambda p, icc: with_profile("TIFF", p, icc),
    "planar TIFF of 16 bits": lambda p, icc: tiff(deep(p, 16), 16, 2, planar=2, blobs={34675: icc}),
    "WEBP": lambda p, icc: with_profile("WEBP", p, icc, lossless=True),
    "AVIF": lambda p, icc: with_profile("AVIF", p, icc, quality=99, subsampling="4:4:4"),
}


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("format", SAVED)
def test_profiles_are_applied(format: str, space: str) -> None:
    data = SAVED[format](inside(space), profile(space))
    # Numbers of light or of 1.8 are coarse where it is dark.
    allowed = {"Display P3": 1, "Adobe RGB": 1}.get(space, 3) + 1.5 * (format in ("JPEG", "AVIF"))
    assert difference(shown(data), RGB) < allowed
    assert difference(inside(space), RGB) > 2 * allowed, "the profile would not be missed"


@pytest.mark.parametrize("space", ["Display P3", "ProPhoto"])
def test_heic_profiles_are_applied(space: str) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    large = np.asarray(Image.fromarray(inside(space)).resize((180, 136), Image.Resampling.NEAREST))
    data = saved(Image.fromarray(large), "HEIF", quality=95, icc_profile=profile(space))
    small = image.open_rgb(data, 10_000).resize((WIDTH, HEIGHT), Image.Resampling.BOX)
    assert difference(np.asarray(small), RGB) < 4
    assert difference(inside(space), RGB) > 8


@pytest.mark.parametrize("exponent", [1.0, 1.8])
def test_grey_profiles_are_applied(exponent: float) -> None:
    grey = GREY[..., 0]
    light = decoded(grey / 255, 0)
    there = (encoded(light, exponent) * 255).round().astype(np.uint8)
    for format in ("PNG", "TIFF"):
        data = with_profile(format, there, grey_profile(exponent))
        assert difference(shown(data), np.dstack([grey] * 3)) < 3
    with_alpha = np.dstack([there, np.where(grey > 99, 255, 0).astype(np.uint8)])
    seen = shown(with_profile("PNG", with_alpha, grey_profile(exponent)))
    assert difference(seen, np.dstack([np.where(grey > 99, grey, 255)] * 3)) < 3


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_profiles_of_inks_are_applied(format: str) -> None:
    inks = Image.fromarray(RGB).convert("CMYK")
    cyan, magenta, yellow, _ = inks.split()
    inks = Image.merge("CMYK", (cyan, magenta, yellow, cyan.point(lambda ink: ink // 3)))
    srgb = ImageCms.createProfile("sRGB")
    icc = ImageCms.ImageCmsProfile(io.BytesIO(ink_profile()))
    wanted = np.asarray(ImageCms.buildTransform(icc, srgb, "CMYK", "RGB").apply(inks))
    data = saved(inks, format, icc_profile=ink_profile())
    assert difference(shown(data), wanted) < 4
    assert difference(shown(saved(inks, format)), wanted) > 10


def test_a_profile_of_lab() -> None:
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    picture = ImageCms.buildTransform(srgb, lab, "RGB", "LAB").apply(Image.fromarray(RGB))
    icc = ImageCms.ImageCmsProfile(lab).tobytes()
    del picture.info["icc_profile"]
    assert difference(shown(saved(picture, "TIFF", icc_profile=icc)), RGB) < 3
    assert difference(shown(saved(picture, "TIFF")), RGB) < 3


def test_another_program_converts_alike(tmp_path: Path) -> None:
    """The other program is ImageMagick, which converts to the same sRGB."""
    srgb = tmp_path / "srgb.icc"
    srgb.write_bytes(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    inks = Image.fromarray(RGB).convert("CMYK")
    files = {
        **{f"png {name}": with_profile("PNG", RGB, profile(name)) for name in SPACES},
        **{f"tiff {name}": with_profile("TIFF", RGB, profile(name)) for name in SPACES},
        "png grey": with_profile("PNG", GREY[..., 0], grey_profile(1.8)),
        "jpeg inks": saved(inks, "JPEG", quality=99, icc_profile=ink_profile()),
        "tiff inks": saved(inks, "TIFF", icc_profile=ink_profile()),
    }
    wrong = {}
    for name, data in files.items():
        path, out = tmp_path / f"it.{name.split()[0]}", tmp_path / "it.ppm"
        path.write_bytes(data)
        command = [*reference("convert"), path, "-profile", srgb, "-depth", "8", out]
        subprocess.run(command, check=True, timeout=60)
        with Image.open(out) as picture:
            wrong[name] = difference(shown(data), np.asarray(picture.convert("RGB")))
    assert {name: error for name, error in wrong.items() if error > 1.5} == {}


def same_as_without(icc: bytes, mode: str = "RGB") -> bool:
    picture = Image.fromarray(RGB).convert(mode)
    plain, stated = (saved(picture, "JPEG", **more) for more in ({}, {"icc_profile": icc}))
    return bool((image.decode(plain, 32) == image.decode(stated, 32)).all())


def test_a_profile_of_srgb_changes_nothing() -> None:
    assert same_as_without(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    assert same_as_without(matrix_profile((*WHITE, *SRGB), 0))
    assert not same_as_without(profile("Display P3"))


def chain_of_elements() -> bytes:
    """Return a profile that goes to Lab by a chain of many steps, all stored at one place."""
    count = 50_000
    step = b"matf" + struct.pack(">IHH12f", 0, 3, 3, *(1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0))
    body = b"mpet" + struct.pack(">IHHI", 0, 3, 3, count)
    place = struct.pack(">II", len(body) + 8 * count, len(step))
    body += place * count + step
    table = struct.pack(">I4sII", 1, b"D2B0", 144, len(body))
    return struct.pack(">I", 144 + len(body)) + profile("Display P3")[4:128] + table + body


BROKEN = {
    "empty": b"",
    "no profile": b"not a profile at all",
    "zeros": bytes(4000),
    "cut": profile("ProPhoto")[:200],
    "without its tags": profile("ProPhoto")[:128] + bytes(4),
    "of a link between devices": profile("ProPhoto").replace(b"mntr", b"link"),
    "of another space": profile("ProPhoto").replace(b"RGB ", b"HSV "),
    "of inks": ink_profile(),
    "of grey": grey_profile(1),
    "of colours that are one": matrix_profile((*WHITE, *SRGB), 0)[:128]
    + profile("ProPhoto")[128:].replace(b"rXYZ", b"xXYZ"),
    "of too many tags": profile("ProPhoto")[:128] + b"\0\xff\xff\xff" + bytes(9000),
    "a chain of elements": chain_of_elements(),
    "too large": profile("ProPhoto") + bytes(MAX_PROFILE),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_profile_that_is_of_no_use_is_ignored(name: str) -> None:
    assert same_as_without(BROKEN[name])


def test_a_profile_of_colours_does_not_explain_inks() -> None:
    inks = Image.fromarray(RGB).convert("CMYK")
    plain, stated = (saved(inks, "TIFF", **m) for m in ({}, {"icc_profile": profile("ProPhoto")}))
    assert (shown(plain) == shown(stated)).all()


def test_damaged_profiles_never_make_an_error() -> None:
    dice = np.random.default_rng(5)
    for base in (profile("ProPhoto"), grey_profile(1.8), ink_profile()):
        mode = {b"GRAY": "L", b"CMYK": "CMYK"}.get(base[16:20], "RGB")
        picture = Image.fromarray(RGB).convert(mode)
        for _ in range(60):
            icc = bytearray(base)
            for at in dice.integers(0, min(len(icc), 400), 3):
                icc[at] = dice.choice([0, 1, 127, 128, 255])
            data = saved(picture, "TIFF", icc_profile=bytes(icc[: dice.integers(1, len(icc) + 1)]))
            assert image.decode(data, 8).shape == (3, 8, 8)


def test_threads_convert_alike() -> None:
    data = [with_profile("JPEG", inside(name), profile(name)) for name in SPACES] * 16
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda each: image.decode(each, 32), data))
    for i, pixels in enumerate(found):
        assert (pixels == image.decode(data[i], 32)).all()


def test_the_transforms_used_last_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    made, make = [], colour._transform
    monkeypatch.setattr(colour, "_transforms", type(colour._transforms)())
    monkeypatch.setattr(colour, "_transform", lambda *given: made.append(given) or make(*given))
    files = [
        with_profile("JPEG", RGB, matrix_profile((*WHITE, *SRGB), 1 + i / 100))
        for i in range(colour.MAX_CACHED + 5)
    ]
    for data in [*files, *files[5:]]:
        image.decode(data, 8)
    assert len(made) == len(files)
    assert len(colour._transforms) == colour.MAX_CACHED


def test_a_file_that_ends_within_its_profile_is_damaged() -> None:
    data = with_profile("JPEG", RGB, profile("ProPhoto"))
    with pytest.raises(InvalidImage):
        image.decode(data[:200], 8)
