"""Golden photos: an archive holds them with their captions, and a deploy asks for these."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import torch
from PIL import Image, ImageDraw

from captioner.operations.archive import Golden, golden_to_json
from captioner.sample_photo import sample_photo
from model import Captioner, DecodingOptions, image

MAX_PHOTOS = 4
# In another precision, batch composition or on another machine, sums are rounded otherwise; where
# two words are about as likely, the caption becomes another. Noise of this size on the features
# changes more than the rounding does.
NOISE = 0.03  # standard deviation, relative to a feature
TRIALS = 10


def golden_json(folder: Path, decoding: DecodingOptions) -> bytes:
    """Return JSON of photos and their captions by a checkpoint, the same bytes every time.

    The photos are those whose caption stays the same under noise on their features; if there are
    none, the one whose caption stays the same most often.
    """
    captioner = Captioner.load(folder, precision="float32")
    photos = list(_photos())
    size = captioner.network.config.image_size
    grid = captioner.encode(torch.stack([image.decode(photo, size) for photo in photos]))
    captions = _captions(captioner, grid, decoding)
    random = torch.Generator().manual_seed(0)
    unchanged = [0] * len(photos)  # trials in which the caption stayed the same
    for _ in range(TRIALS):
        noise = NOISE * torch.randn(grid.shape, generator=random)
        noisy = _captions(captioner, grid * (1 + noise), decoding)
        for i, (caption, other) in enumerate(zip(captions, noisy, strict=True)):
            unchanged[i] += caption == other
    stable = [i for i, trials in enumerate(unchanged) if trials == TRIALS][:MAX_PHOTOS]
    return golden_to_json(
        Golden(photos[i], captions[i]) for i in stable or [unchanged.index(max(unchanged))]
    )


def _captions(captioner: Captioner, grid: torch.Tensor, decoding: DecodingOptions) -> list[str]:
    return [captions[0].text for captions in captioner.caption_grid(grid, decoding)]


def _photos() -> Iterator[bytes]:
    """Yield the sample photo, and drawings in plain colours."""
    yield sample_photo("BMP").content  # the bytes of other formats depend on the encoder's version
    for sky, ground, ellipse in (
        ("skyblue", "green", "brown"),
        ("white", "lightblue", "red"),
        ("navy", "black", "yellow"),
        ("orange", "sienna", "black"),
        ("lightgrey", "grey", "white"),
        ("skyblue", "khaki", "blue"),
        ("darkgreen", "forestgreen", "white"),
    ):
        picture = Image.new("RGB", (112, 112), sky)
        draw = ImageDraw.Draw(picture)
        draw.rectangle((0, 70, 112, 112), fill=ground)
        draw.ellipse((40, 45, 75, 90), fill=ellipse)
        buffer = io.BytesIO()
        picture.save(buffer, "BMP")
        yield buffer.getvalue()
