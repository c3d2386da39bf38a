"""The picture of some photos of a split with their captions, samples.png."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from model.captioner import DEFAULT_OPTIONS, Caption, Captioner
from model.decoding_options import DecodingOptions
from model.files import write_whole
from training.reporting.pictures import (
    DPI,
    GAP,
    GREY,
    MARGIN,
    Page,
    attention_page,
    panel_size,
    wrap,
)
from training.scoring.split import Split

MAX_PHOTOS, COLUMNS = 20, 5  # photos in the picture, and side by side
PHOTO = panel_size(1)[0]  # inches; the panels of attention below stand in the same columns
LINE = 0.19  # inches, the height of a line under a photo


def write_samples(
    split: Split, captioner: Captioner, out: Path, decoding: DecodingOptions, seed: int
) -> None:
    """Draw some photos of a split, chosen by the seed, with their captions to a PNG."""
    chosen = chosen_photos(len(split.names), seed)
    photos = split.decoded(chosen, captioner.network.config.image_size)
    title = f"{len(chosen)} of {len(split.names)} photos, chosen by seed {seed}"
    write_captioned_photos(
        captioner, photos, [split.references[i] for i in chosen], out, title, decoding
    )


def chosen_photos(count: int, seed: int) -> list[int]:
    """Return the positions of `MAX_PHOTOS` of so many photos, or of all, drawn by the seed."""
    generator = torch.Generator().manual_seed(seed)
    chosen: list[int] = torch.randperm(count, generator=generator)[:MAX_PHOTOS].tolist()
    return chosen


def write_captioned_photos(
    captioner: Captioner,
    photos: torch.Tensor,
    references: Sequence[Sequence[str]],
    out: Path,
    title: str,
    options: DecodingOptions = DEFAULT_OPTIONS,
) -> None:
    """Draw photos with the captioner's caption and a person's, to a PNG.

    Below them the first photo is drawn again, with the attention of each of its words.

    Parameters
    ----------
    photos
        As `model.image.decode` returns them, uint8, shape = (B, 3, H, W).
    references
        For each photo what people wrote; the first is shown.
    title
        Stands above the photos and says which they are.

    Raises
    ------
    ValueError
        There is no photo, or another number of references.
    """
    if not len(photos) or len(photos) != len(references):
        raise ValueError(f"{out}: {len(photos)} photos and {len(references)} references to show")
    captions = [found[0] for found in captioner.caption_photos(photos, options)]
    pixels = list(photos.permute(0, 2, 3, 1).cpu().numpy())
    grid = _grid(pixels, captions, [_sentence(texts) for texts in references], title)
    attention = attention_page(Image.fromarray(pixels[0]), captions[0], width=grid.width)
    write_whole(out, _stacked([grid, attention]))


def _grid(
    photos: list[NDArray[np.uint8]], captions: list[Caption], references: list[str], title: str
) -> Page:
    """Lay photos out in rows, the captioner's caption in bold beneath each, a person's in grey."""
    generated = [wrap(caption.text, PHOTO, 10, "bold") for caption in captions]
    written = [wrap(text, PHOTO, 9) for text in references]
    lines = [len(g) + len(w) for g, w in zip(generated, written, strict=True)]
    rows = [range(len(photos))[i : i + COLUMNS] for i in range(0, len(photos), COLUMNS)]
    heights = [PHOTO + LINE * max(lines[i] for i in row) + 2 * GAP for row in rows]
    top = MARGIN + LINE + GAP
    page = Page(2 * MARGIN + COLUMNS * (PHOTO + GAP) - GAP, top + sum(heights))
    page.text(title, MARGIN, MARGIN + LINE / 2, 10, color=GREY)
    for row, height in zip(rows, heights, strict=True):
        for column, i in enumerate(row):
            left, base = MARGIN + column * (PHOTO + GAP), top + PHOTO + 0.03
            page.picture(photos[i], left, top, PHOTO, PHOTO)
            for line in generated[i]:
                page.text(line, left, base := base + LINE, 10, weight="bold")
            for line in written[i]:
                page.text(line, left, base := base + LINE, 9, color=GREY)
        top += height
    return page


def _sentence(references: Sequence[str]) -> str:
    """Return the first reference without the full stop that datasets set as a word of its own."""
    return next(iter(references), "").strip().removesuffix(" .")


def _stacked(pages: Sequence[Page]) -> bytes:
    """Return pages of one width below each other, as one PNG."""
    images = [Image.open(io.BytesIO(page.png())).convert("RGB") for page in pages]
    size = max(image.width for image in images), sum(image.height for image in images)
    whole, top = Image.new("RGB", size, "white"), 0
    for image in images:
        whole.paste(image, (0, top))
        top += image.height
    buffer = io.BytesIO()
    whole.save(buffer, "PNG", dpi=(DPI, DPI))
    return buffer.getvalue()
