from __future__ import annotations

import io
import struct
import subprocess
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from model import colour, image
from model.image import InvalidImage
from tests.model.encodings import GREY, HEIGHT, RGB, WIDTH, Array, chunk, deep, png, saved, tiff
from tests.model.test_encodings import difference, reference, shown

# CIE x and y of red, green and blue, all with the white of daylight, D65; and the curve.
SPACES: dict[str, tuple[tuple[float, ...], float]] = {
    "Display P3": ((0.680, 0.320, 0.265, 0.690, 0.150, 0.060), 0),
    "Adobe RGB": ((0.64, 0.33, 0.21, 0.71, 0.15, 0.06), 2.19921875),
    "ProPhoto": ((0.7347, 0.2653, 0.1596, 0.8404, 0.0366, 0.0001), 1.8),
    "linear": ((0.64, 0.33, 0.30, 0.60, 0.15, 0.06), 1),
}
SRGB = SPACES["linear"][0]
WHITE = (0.3127, 0.3290)


def decoded(values: Array, exponent: float) -> Array:
    """Numbers of 0..1 as amounts of light; exponent 0 stands for sRGB's curve."""
    if exponent:
        return values**exponent
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def encoded(light: Array, exponent: float) -> Array:
    light = light.clip(0, 1)
    if exponent:
        return light ** (1 / exponent)
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def to_xyz(primaries: tuple[float, ...]) -> Array:
    columns = [np.array([x / y, 1, (1 - x - y) / y]) for x, y in
               zip(primaries[::2], primaries[1::2], strict=True)]  # fmt: skip
    x, y = WHITE
    matrix = np.stack(columns, axis=1)
    return matrix * np.linalg.solve(matrix, np.array([x / y, 1, (1 - x - y) / y]))


def inside(name: str, pixels: Array = RGB) -> Array:
    """An sRGB picture in the numbers of another space, all of which hold it."""
    primaries, exponent = SPACES[name]
    light = decoded(pixels / 255, 0)
    there = np.linalg.inv(to_xyz(primaries)) @ to_xyz(SRGB)
    return (encoded(light @ there.T, exponent) * 255).round().astype(np.uint8)


def profile(name: str) -> bytes:
    primaries, exponent = SPACES[name]
    return colour.matrix_profile((*WHITE, *primaries), exponent)


def grey_profile(exponent: float) -> bytes:
    """Return a profile of grey alone: version 2, with a table for a curve."""
    curve = [round(65535 * (i / 255) ** exponent) for i in range(256)]
    body = struct.pack(">4sII256H", b"curv", 0, 256, *curve)
    white = struct.pack(">4sI3i", b"XYZ ", 0, 63190, 65536, 54061)
    table = struct.pack(">I4sII4sII", 2, b"wtpt", 156, 20, b"kTRC", 176, len(body))
    size = 128 + len(table) + len(white) + len(body)
    header = struct.pack(
        ">I4xI4s4s4s12x4s28x3i48x", size, 0x02400000, b"mntr", b"GRAY", b"XYZ ", b"acsp",
        63190, 65536, 54061,
    )  # fmt: skip
    return header + table + white + body


def ink_profile() -> bytes:
    """Return a profile of four inks, 2 points each: their mixtures in Lab, black being brown."""
    lab = ImageCms.buildTransform(
        ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
    )
    grid = []
    for c, m, y, k in np.ndindex(2, 2, 2, 2):
        rgb = tuple(int(255 * (1 - ink) * (1 - 0.8 * k)) for ink in (c, m, y))
        pixel = lab.apply(Image.new("RGB", (1, 1), (rgb[0], rgb[1], rgb[2] // (1 + k))))
        lightness, a, b = pixel.tobytes()[:3]
        grid += [lightness, (a + 128) % 256, (b + 128) % 256]
    unchanged = bytes(range(256))
    body = b"mft1" + struct.pack(">I4B9i", 0, 4, 3, 2, 0, *(65536 * (i % 4 == 0) for i in range(9)))
    body += unchanged * 4 + bytes(grid) + unchanged * 3
    table = struct.pack(">I4sII", 1, b"A2B0", 144, len(body))
    header = struct.pack(
        ">I4xI4s4s4s12x4s28x3i48x", 144 + len(body), 0x02400000, b"prtr", b"CMYK", b"Lab ", b"acsp",
        63190, 65536, 54061,
    )  # fmt: skip
    return header + table + body


def with_profile(format: str, pixels: Array, icc: bytes, **options: Any) -> bytes:
    return saved(Image.fromarray(pixels), format, icc_profile=icc, **options)


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


def test_codes_of_a_heic_are_applied() -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    heif = pillow_heif.from_pillow(Image.fromarray(inside("Display P3")))
    buffer = io.BytesIO()
    heif.save(buffer, quality=-1, color_primaries=12, transfer_characteristics=13)
    assert difference(shown(buffer.getvalue()), RGB) < 5  # what 4:2:0 takes away


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
    """ImageMagick, to the same sRGB."""
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
    plain, told = (saved(picture, "JPEG", **more) for more in ({}, {"icc_profile": icc}))
    return bool((image.decode(plain, 32) == image.decode(told, 32)).all())


def test_a_profile_of_srgb_changes_nothing() -> None:
    assert same_as_without(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    assert same_as_without(colour.matrix_profile((*WHITE, *SRGB), 0))
    assert not same_as_without(profile("Display P3"))


def chain_of_elements() -> bytes:
    """A profile whose way to Lab is a chain of many steps, each at the same place."""
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
    "of colours that are one": colour.matrix_profile((*WHITE, *SRGB), 0)[:128]
    + profile("ProPhoto")[128:].replace(b"rXYZ", b"xXYZ"),
    "of too many tags": profile("ProPhoto")[:128] + b"\0\xff\xff\xff" + bytes(9000),
    "a chain of elements": chain_of_elements(),
    "too large": profile("ProPhoto") + bytes(colour.MAX_PROFILE),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_profile_that_is_of_no_use_is_ignored(name: str) -> None:
    assert same_as_without(BROKEN[name])


def test_a_profile_of_colours_does_not_explain_inks() -> None:
    inks = Image.fromarray(RGB).convert("CMYK")
    plain, told = (saved(inks, "TIFF", **m) for m in ({}, {"icc_profile": profile("ProPhoto")}))
    assert (shown(plain) == shown(told)).all()


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


def gamma(value: float) -> bytes:
    return chunk(b"gAMA", struct.pack(">I", round(value * 100_000)))


def colors(*numbers: float) -> bytes:
    return chunk(b"cHRM", struct.pack(">8I", *(round(number * 100_000) for number in numbers)))


def test_gamma_of_a_png() -> None:
    linear = deep(inside("linear"), 8)
    assert difference(shown(png(linear, 8, 2, gamma(1.0))), RGB) < 3
    grey = (decoded(GREY / 255, 0) * 255).round().astype(np.uint64)
    assert difference(shown(png(grey, 8, 0, gamma(1.0))), np.dstack([GREY] * 3)) < 3
    p3 = deep(inside("Display P3"), 8)
    told = gamma(0.45455) + colors(*WHITE, *SPACES["Display P3"][0])
    assert difference(shown(png(p3, 8, 2, told)), RGB) < 2


@pytest.mark.parametrize(
    "told",
    [
        gamma(0.45455),
        gamma(0.45),
        gamma(0),
        gamma(400),
        chunk(b"sRGB", b"\0") + gamma(1.0),
        gamma(1.0) + chunk(b"sRGB", b"\0"),
        colors(*WHITE, *SPACES["Display P3"][0]),  # alone it counts for nothing
        gamma(0.45455) + colors(0, 0, 0, 0, 0, 0, 0, 0),
        gamma(0.45455) + colors(*WHITE, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3),
        chunk(b"cICP", bytes([1, 13, 0, 1])),
        chunk(b"cICP", bytes([1, 13, 0, 1]))
        + chunk(b"iCCP", b"icc\0\0" + zlib.compress(profile("ProPhoto"))),
        chunk(b"cICP", b"\x0c"),
    ],
)  # fmt: skip
def test_what_a_png_says_of_srgb_changes_nothing(told: bytes) -> None:
    assert (shown(png(deep(RGB, 8), 8, 2, told)) == RGB).all()


def test_a_profile_chunk_that_cannot_be_read_is_ignored() -> None:
    samples = deep(RGB, 8)
    good = chunk(b"iCCP", b"icc\0\0" + zlib.compress(profile("ProPhoto")))
    for told in (
        good[:-1] + bytes([good[-1] ^ 1]),  # its checksum
        chunk(b"iCCP", b"icc\0\1" + zlib.compress(profile("ProPhoto"))),  # a method that is none
        chunk(b"iCCP", b"icc\0\0" + b"not compressed"),
        chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(50_000_000))),
        chunk(b"iCCP", b""),
        chunk(b"iCCP", b"\0"),
    ):
        assert (shown(png(samples, 8, 2, told)) == RGB).all()
    assert difference(shown(png(deep(inside("ProPhoto"), 8), 8, 2, good + good)), RGB) < 3
    large = good_and_large("Display P3")
    assert difference(shown(png(deep(inside("Display P3"), 8), 8, 2, large)), RGB) < 2


def good_and_large(space: str) -> bytes:
    """A chunk with a profile of more bytes than Pillow takes: after its tables, a comment."""
    icc = profile(space) + bytes(3_000_000)
    return chunk(b"iCCP", b"icc\0\0" + zlib.compress(struct.pack(">I", len(icc)) + icc[4:]))


def test_of_two_statements_of_a_png_the_stronger_counts() -> None:
    p3, pro = (chunk(b"iCCP", b"icc\0\0" + zlib.compress(profile(name)))
               for name in ("Display P3", "ProPhoto"))  # fmt: skip
    samples = deep(inside("Display P3"), 8)
    for told in (p3 + gamma(1.0), chunk(b"cICP", bytes([12, 13, 0, 1])) + pro):
        assert difference(shown(png(samples, 8, 2, told)), RGB) < 2


def test_the_code_of_an_avif() -> None:
    data = bytearray(saved(Image.fromarray(inside("Display P3")), "AVIF", quality=99,
                           subsampling="4:4:4"))  # fmt: skip
    at = data.index(b"colrnclx") + 8
    data[at : at + 4] = struct.pack(">HH", 12, 13)
    assert difference(shown(bytes(data)), RGB) < 3


def test_a_profile_of_an_avif_counts_more_than_its_code() -> None:
    data = bytearray(with_profile("AVIF", inside("Display P3"), profile("Display P3"), quality=99,
                                  subsampling="4:4:4"))  # fmt: skip
    at = data.index(b"colrnclx") + 8
    data[at : at + 4] = struct.pack(">HH", 1, 13)
    assert difference(shown(bytes(data)), RGB) < 3


def test_threads_convert_alike() -> None:
    data = [with_profile("JPEG", inside(name), profile(name)) for name in SPACES] * 16
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda each: image.decode(each, 32), data))
    for i, pixels in enumerate(found):
        assert (pixels == image.decode(data[i], 32)).all()


def test_profiles_are_remembered_up_to_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    made, make = [], colour._transform
    monkeypatch.setattr(colour, "_transforms", type(colour._transforms)())
    monkeypatch.setattr(colour, "_transform", lambda *told: made.append(told) or make(*told))
    files = [
        with_profile("JPEG", RGB, colour.matrix_profile((*WHITE, *SRGB), 1 + i / 100))
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
