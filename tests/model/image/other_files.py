"""The picture as GIFs, WebPs, AVIFs and HEICs."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
from PIL import Image

from tests.model.image.pictures import GREY, HEIGHT, RGB, WHITE, WIDTH, Encoded, saved, shown


def others() -> Iterator[tuple[str, Encoded]]:
    rgb, grey = Image.fromarray(RGB), Image.fromarray(GREY[..., 0])
    alpha = np.full((HEIGHT, WIDTH, 1), 255, np.uint8)
    alpha[WHITE] = 0
    rgba = Image.fromarray(np.dstack([RGB, alpha]))
    grey_shown = shown(GREY, 8)
    indexed = rgb.quantize(64)
    seen = np.asarray(indexed.convert("RGB"))
    for interlace in (0, 1):
        data = saved(indexed, "GIF", interlace=interlace)
        yield f"gif interlace={interlace}", Encoded(data, seen, 0)
        white = indexed.getpixel((WIDTH - 1, HEIGHT - 1))
        assert isinstance(white, int)
        dark = indexed.copy()
        colors = dark.getpalette()
        assert colors is not None
        colors[3 * white : 3 * white + 3] = [1, 2, 3]
        dark.putpalette(colors)
        data = saved(dark, "GIF", interlace=interlace, transparency=white)
        yield f"gif key interlace={interlace}", Encoded(data, seen, 0)
    yield "webp lossless", Encoded(saved(rgb, "WEBP", lossless=True), RGB, 0)
    yield "webp lossless alpha", Encoded(saved(rgba, "WEBP", lossless=True, exact=True), RGB, 0)
    yield "webp lossy", Encoded(saved(rgb, "WEBP", quality=98), RGB, 9)
    yield "webp lossy alpha", Encoded(saved(rgba, "WEBP", quality=98), RGB, 9)
    for sampling, error in (("4:4:4", 2), ("4:2:2", 9), ("4:2:0", 9)):
        for range_ in ("full", "limited"):
            data = saved(rgb, "AVIF", quality=98, subsampling=sampling, range=range_)
            yield f"avif {sampling} {range_}", Encoded(data, RGB, error)
    yield "avif grey", Encoded(saved(grey, "AVIF", quality=98), grey_shown, 2)
    for associated in (False, True):
        data = saved(rgba, "AVIF", quality=98, subsampling="4:4:4", alpha_premultiplied=associated)
        yield f"avif alpha associated={associated}", Encoded(data, RGB, 3)


def heics() -> Iterator[tuple[str, Encoded]]:
    try:
        import pillow_heif
    except ImportError:
        return
    pillow_heif.register_heif_opener()
    alpha = np.full((HEIGHT, WIDTH), 255, np.uint8)
    alpha[WHITE] = 0
    for mode in ("RGB", "L", "RGBA", "LA"):
        picture = Image.fromarray(RGB).convert(mode)
        seen = np.asarray(picture.convert("RGB"))
        if mode.endswith("A"):
            picture.putalpha(Image.fromarray(alpha))
        yield f"heic {mode}", Encoded(saved(picture, "HEIF", quality=-1, chroma=444), seen, 1)
    for mode, pixels in (("RGB;16", RGB), ("I;16L", GREY)):
        content = (pixels.astype("<u2") * 257).tobytes()
        buffer = io.BytesIO()
        heif = pillow_heif.from_bytes(mode=mode, size=(WIDTH, HEIGHT), data=content)
        heif.save(buffer, quality=-1, chroma=444)
        seen = np.broadcast_to(pixels, RGB.shape).copy()
        yield f"heic {mode}", Encoded(buffer.getvalue(), seen, 1)
