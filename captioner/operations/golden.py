"""Photos that travel in an archive with their captions, so that a deploy can ask for known ones."""

from __future__ import annotations

import importlib.resources
import io
from collections.abc import Iterator
from pathlib import Path

import torch
from PIL import Image, ImageDraw

from captioner.operations.archive import Golden, golden_to_json
from model import Captioner, DecodingOptions, image

MOST = 4
# In another precision, company or machine sums are rounded otherwise, and where words are as likely
# as one another the caption becomes another. This disturbs the features more than that does.
DISTURBANCE = 0.03  # standard deviation, as a share of a feature
TIMES = 10


def golden(folder: Path, decoding: DecodingOptions) -> bytes:
    """JSON of photos and their captions by a checkpoint, the same bytes every time.

    They are photos whose caption stays the same when their features are disturbed a little; if
    there is none, the one that does so most often.
    """
    captioner = Captioner.load(folder, precision="float32")
    photos = list(_photos())
    size = captioner.network.config.image_size
    grid = captioner.encode(torch.stack([image.decode(photo, size) for photo in photos]))
    captions = _captions(captioner, grid, decoding)
    random = torch.Generator().manual_seed(0)
    steady = [0] * len(photos)
    for _ in range(TIMES):
        noise = DISTURBANCE * torch.randn(grid.shape, generator=random)
        disturbed = _captions(captioner, grid * (1 + noise), decoding)
        for i, (caption, other) in enumerate(zip(captions, disturbed, strict=True)):
            steady[i] += caption == other
    chosen = [i for i, times in enumerate(steady) if times == TIMES][:MOST]
    return golden_to_json(
        Golden(photos[i], captions[i]) for i in chosen or [steady.index(max(steady))]
    )


def _captions(captioner: Captioner, grid: torch.Tensor, decoding: DecodingOptions) -> list[str]:
    return [found[0].text for found in captioner.caption_grid(grid, decoding)]


def sample_photo() -> Path:
    """A photo that came with an installed package: Grace Hopper, by the US Navy (public domain)."""
    photo = importlib.resources.files("matplotlib") / "mpl-data/sample_data/grace_hopper.jpg"
    return Path(str(photo))


def _photos() -> Iterator[bytes]:
    """Her, and drawings in plain colours."""
    yield sample_photo().read_bytes()
    for sky, ground, thing in (
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
        draw.ellipse((40, 45, 75, 90), fill=thing)
        buffer = io.BytesIO()
        picture.save(buffer, "BMP")  # no encoder whose next version packs otherwise
        yield buffer.getvalue()
