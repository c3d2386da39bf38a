"""The picture as JPEGs."""

from __future__ import annotations

from collections.abc import Iterator

from PIL import Image
from PIL.ImageChops import invert

from tests.model.image.pictures import GREY, RGB, Encoded, saved, shown


def jpegs() -> Iterator[tuple[str, Encoded]]:
    rgb, grey = Image.fromarray(RGB), Image.fromarray(GREY[..., 0])
    grey_shown = shown(GREY, 8)
    for sampling, error in (("4:4:4", 1.5), ("4:2:2", 6), ("4:2:0", 9)):
        for progressive in (False, True):
            data = saved(rgb, "JPEG", quality=98, subsampling=sampling, progressive=progressive)
            yield f"jpeg {sampling} progressive={progressive}", Encoded(data, RGB, error)
    for name, options in {
        "restarts": {"restart_marker_blocks": 2},
        "optimised": {"optimize": True},
        "RGB inside": {"keep_rgb": True},
    }.items():
        data = saved(rgb, "JPEG", quality=98, subsampling="4:4:4", **options)
        yield f"jpeg {name}", Encoded(data, RGB, 1.5)
    yield "jpeg grey", Encoded(saved(grey, "JPEG", quality=98), grey_shown, 1.5)
    inks = rgb.convert("CMYK")
    for progressive in (False, True):
        data = saved(inks, "JPEG", quality=98, progressive=progressive)
        yield f"jpeg cmyk progressive={progressive}", Encoded(data, RGB, 4)
    # The same inks as brightness, two differences and black (Adobe's YCCK).
    y, cb, cr = (band.point(lambda v: 255 - v) for band in invert(rgb).convert("YCbCr").split())
    coded = Image.merge("CMYK", (y, cb, cr, Image.new("L", rgb.size)))
    data = saved(coded, "JPEG", quality=98, subsampling="4:4:4")
    at = data.index(b"Adobe\0") + 11
    yield "jpeg ycck", Encoded(data[:at] + b"\2" + data[at + 1 :], RGB, 3)
    # Of the 12 bits that medical and astronomical JPEGs have.
    deeper = bytearray(saved(rgb, "JPEG", quality=98))
    deeper[deeper.index(b"\xff\xc0") + 4] = 12
    yield "jpeg 12 bits", Encoded(bytes(deeper), RGB, 0)
