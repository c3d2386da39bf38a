"""Photos that travel in an archive with their captions, so that a deploy can ask for known ones."""

from __future__ import annotations

import base64
import importlib.resources
import io
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from PIL import Image, ImageDraw

from model import Captioner, DecodingOptions
from model.captioner import Caption

MOST = 4
LEAST_AHEAD = 0.02  # in score


def golden(folder: Path, decoding: DecodingOptions) -> bytes:
    """JSON of photos and their captions by a checkpoint, the same bytes every time.

    Of two captions as likely as one another rounding chooses, and another machine may choose the
    other: these are photos whose caption is well ahead of the next, if there are any.
    """
    captioner = Captioner.load(folder, precision="float32")
    wide = replace(decoding, beam_size=max(2, decoding.beam_size), num_captions=2)

    def ahead(captions: list[Caption]) -> float:
        scores = [c.log_prob / (len(c.words) + 1) ** decoding.length_penalty for c in captions]
        return scores[0] - scores[1] if len(scores) > 1 else math.inf

    photos = list(_photos())
    found = captioner.caption(photos, wide)
    clear = [p for p, captions in zip(photos, found, strict=True) if ahead(captions) > LEAST_AHEAD]
    chosen = clear[:MOST] or photos[:1]
    told = [
        {"photo": base64.b64encode(photo).decode(), "caption": captions[0].text}
        for photo, captions in zip(chosen, captioner.caption(chosen, decoding), strict=True)
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
