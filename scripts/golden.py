"""Photos that travel in an archive with their captions, so that a deploy can ask for known ones."""

from __future__ import annotations

import base64
import importlib.resources
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from PIL import Image, ImageDraw

from model import Captioner, DecodingOptions

# Of two captions as likely as one another, rounding chooses: another machine may choose the other.
LEAST_MARGIN = 0.02  # in score, of a golden photo's caption to the next
MOST = 4


def golden(folder: Path, decoding: DecodingOptions) -> bytes:
    """JSON of photos and their captions by a checkpoint, the same bytes every time.

    Raises
    ------
    ValueError
        The captions of all photos are too close to others.
    """
    captioner = Captioner.load(folder, precision="float32")
    photos = list(_photos())
    wide = replace(decoding, beam_size=max(2, decoding.beam_size), num_captions=2)
    clear = []
    for photo, captions in zip(photos, captioner.caption(photos, wide), strict=True):
        ahead = captions[0].log_prob - captions[1].log_prob if len(captions) > 1 else LEAST_MARGIN
        if abs(ahead) >= LEAST_MARGIN:
            clear.append(photo)
    clear = clear[:MOST]
    if not clear:
        raise ValueError(f"{folder} has no caption for any golden photo that is ahead of others")
    told = [
        {"photo": base64.b64encode(photo).decode(), "caption": captions[0].text}
        for photo, captions in zip(clear, captioner.caption(clear, decoding), strict=True)
    ]
    return (json.dumps(told, indent=1) + "\n").encode()


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
