"""The inputs that benchmarks run on: photos, given or synthetic, and made-up words.

Synthetic photos have smooth patches, sharp edges and detail at every scale, as photos have, so they
compress and decode like photos. They show nothing: their captions are longer or shorter than those
of real photos, so caption lengths are printed beside the figures.
"""

from __future__ import annotations

import io
import itertools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from model.word_map import SPECIAL, WordMap

FLICKR = (500, 375)  # pixels, width and height of most photos of Flickr8k
CAMERA = (4000, 3000)  # 12 megapixels
DIFFERENT = 4  # large photos; they may repeat, because no decoder remembers the one before
QUALITY = 90
SHAPES = 14
# Standard deviation, in 0..255, of detail that is half as large as the photo; the factor from one
# scale to the next, which is half as large; and the minimum, because a camera has some noise.
CONTRAST, FALL, NOISE = 32.0, 0.76, 4.0


def photos(count: int, folder: Path | None) -> list[bytes]:
    """Return the first JPEGs of a folder by name, or synthetic photos without a folder.

    A folder of fewer photos is gone through again from the first.

    Raises
    ------
    ValueError
        The folder holds no JPEG.
    """
    if folder is None:
        return [synthetic_photo(seed) for seed in range(count)]
    paths = sorted(p for p in folder.glob("*") if p.suffix.lower() in (".jpg", ".jpeg"))
    if not paths:
        raise ValueError(f"{folder} holds no *.jpg to measure on")
    return [path.read_bytes() for path in itertools.islice(itertools.cycle(paths), count)]


def large_photos(count: int, size: tuple[int, int] = CAMERA) -> list[bytes]:
    """Return synthetic photos as large as a camera's."""
    with ThreadPoolExecutor() as pool:
        made = list(pool.map(lambda seed: synthetic_photo(seed, size), range(DIFFERENT)))
    return list(itertools.islice(itertools.cycle(made), count))


def synthetic_photo(seed: int, size: tuple[int, int] = FLICKR) -> bytes:
    """Return a JPEG of this width and height; the same bytes for the same seed."""
    random = np.random.default_rng(seed)
    canvas = Image.new("RGB", size, tuple(random.integers(60, 200, 3).tolist()))
    pen = ImageDraw.Draw(canvas)
    for _ in range(SHAPES):
        color = tuple(random.integers(0, 256, 3).tolist())
        center, reach = random.random(2) * size, random.uniform(0.04, 0.25) * max(size)
        corners = center + random.uniform(-reach, reach, (4, 2))
        if random.random() < 0.5:
            pen.polygon([tuple(corner) for corner in corners.tolist()], fill=color)
        else:
            pen.ellipse((*corners.min(axis=0).tolist(), *corners.max(axis=0).tolist()), fill=color)
    light, *colors = canvas.convert("YCbCr").split()
    planes = [_detailed(light, random, 1.0, 1)]
    planes += [_detailed(plane, random, 0.4, 8) for plane in colors]  # hues vary less, and softly
    buffer = io.BytesIO()
    Image.merge("YCbCr", planes).save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def _detailed(
    plane: Image.Image, random: np.random.Generator, strength: float, finest: int
) -> Image.Image:
    """Return the plane with noise of every scale added, down to patches of ``finest`` pixels."""
    width, height = plane.size
    total: NDArray[np.float32] = np.array(plane, dtype=np.float32)
    patch, contrast = max(width, height) // 2, CONTRAST * strength
    while patch >= finest:
        cells = -(-height // patch) + 1, -(-width // patch) + 1
        noise = Image.fromarray(random.standard_normal(cells, dtype=np.float32))
        smooth = noise.resize((width, height), Image.Resampling.BICUBIC)
        total += contrast * np.asarray(smooth)
        patch, contrast = patch // 2, max(contrast * FALL, NOISE * strength)
    return Image.fromarray(total.clip(0, 255).astype(np.uint8))


def decode_fully(data: bytes, size: int) -> torch.Tensor:
    """Decode all pixels, then resize to a square; uint8, shape = (3, size, size).

    This is the usual way. `model.image.decode` skips resolution where a format lets it.
    """
    with Image.open(io.BytesIO(data)) as image:
        rgb = image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.ascontiguousarray(np.asarray(rgb).transpose(2, 0, 1)))


def word_map(words: int) -> WordMap:
    """Return a word map of this many words, made up but for the special tokens."""
    names = [*SPECIAL, *(f"w{i}" for i in range(words - len(SPECIAL)))]
    return WordMap({word: i for i, word in enumerate(names)})
