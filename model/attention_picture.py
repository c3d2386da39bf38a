"""Where each word of a caption looked, as a PNG drawn with Pillow alone: a server has no more."""

from __future__ import annotations

import io
import math
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from model import Caption
from model.image import open_rgb

Map = NDArray[np.floating[Any]]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

# Pixels: of the page, around it, between panels, above a panel for its word.
WIDEST, NARROWEST, MARGIN, GAP, LABEL = 1600, 560, 28, 20, 30
AREA, LONGEST, SHORTEST = 240 * 240, 420, 8  # of a panel, whatever the photo's shape
ALL_AREA = 1_400_000  # of all panels: those of a long caption are smaller
LEAST_CELL = 170  # pixels in which a word has room
SHAPE = 1.4  # width to height that a page aims at
TITLE, WORD, SMALL, TINY = 26, 19, 14, 11  # sizes of letters, pixels
INK, GREY = "#1a1a1a", "#6a6a6a"

# In even shares, 1 / P: plain grey up to one of them, full colour from four on. Being the same for
# all words and photos, the scale shows a peaked map as peaked.
EVEN, FULL = 1.0, 4.0
SMOOTHING = 0.5  # standard deviation of the blur, grid cells
DARK, LIGHT = np.array([225.0, 80.0, 0.0]), np.array([255.0, 240.0, 160.0])  # RGB of full colour


def attention_picture(photo: bytes, caption: Caption) -> bytes:
    """Draw the photo with its caption, then a panel for every word: where that word looked.

    Parameters
    ----------
    photo
        The image file that the caption is of.

    Returns
    -------
    A PNG file of at most `WIDEST` pixels across; the same for the same arguments.

    Raises
    ------
    model.InvalidImage
        The photo is none.
    """
    picture = open_rgb(photo, LONGEST)
    panels = len(caption.words) + 1
    panel = _panel_size(picture.width / picture.height, min(AREA, ALL_AREA // panels))
    cell = max(panel[0], LEAST_CELL) + GAP, LABEL + panel[1] + GAP
    columns = _columns(panels, cell)
    width = max(NARROWEST, 2 * MARGIN + columns * cell[0] - GAP)
    title = _wrapped(_printable(caption.text) or "(no word)", width - 2 * MARGIN)
    line = TITLE * 4 // 3
    top = MARGIN + line * len(title) + 2 * SMALL
    height = top + -(-panels // columns) * cell[1] - GAP + MARGIN

    page = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(page)
    for i, text in enumerate(title):
        _write(pen, text, (MARGIN, MARGIN + line * i + TITLE), TITLE, width - 2 * MARGIN)
    told = f"log-probability {caption.log_prob:.2f}; the brighter, the more the word looked there"
    _write(pen, told, (MARGIN, top - SMALL), SMALL, width - 2 * MARGIN, GREY)

    small = picture.resize(panel, Image.Resampling.LANCZOS)
    for i in range(panels):
        left, upper = MARGIN + i % columns * cell[0], top + i // columns * cell[1] + LABEL
        if i == 0:
            page.paste(small, (left, upper))
            continue
        attention = caption.attention[i - 1].float().cpu().numpy()
        page.paste(_lit(small, attention), (left, upper))
        chance = _percent(caption.word_log_probs[i - 1])
        room = cell[0] - GAP - round(_font(SMALL).getlength(chance)) - 10
        word = _printable(caption.words[i - 1])
        end = _write(pen, word, (left, upper - 9), WORD, room)
        _write(pen, chance, (end + 8, upper - 9), SMALL, room, GREY)
    buffer = io.BytesIO()
    page.save(buffer, "PNG")
    return buffer.getvalue()


def _panel_size(ratio: float, area: float) -> tuple[int, int]:
    """Width and height of a photo with this ratio of the two; one that is all but a line shows."""
    width, height = math.sqrt(area * ratio), math.sqrt(area / ratio)
    shrink = min(1, LONGEST / width, LONGEST / height)
    return max(round(width * shrink), SHORTEST), max(round(height * shrink), SHORTEST)


def _columns(panels: int, cell: tuple[int, int]) -> int:
    """Panels side by side: a page near `SHAPE` with few empty places, and not too wide."""
    fit = max(1, (WIDEST - 2 * MARGIN + GAP) // cell[0])

    def ugliness(columns: int) -> float:
        rows = -(-panels // columns)
        return abs(math.log(columns * cell[0] / (rows * cell[1]) / SHAPE)) + (
            (columns * rows - panels) / columns
        )

    return min(range(1, min(panels, fit) + 1), key=ugliness)


def _lit(photo: Image.Image, attention: Map) -> Image.Image:
    """The photo in dim grey, and in bright orange where the attention is.

    Grey against hue keeps dark and light photos apart from their attention alike.
    """
    light = np.asarray(photo.convert("L"), dtype=np.float32)[..., None] / 255
    rows, columns = (
        _weights(pixels, cells)
        for pixels, cells in zip((photo.height, photo.width), attention.shape, strict=True)
    )
    shares = (rows @ attention @ columns.T)[..., None] * attention.size
    lit = np.clip((shares - EVEN) / (FULL - EVEN), 0, 1) ** 0.75
    grey, color = 255 * (0.1 + 0.5 * light), DARK + (LIGHT - DARK) * light
    return Image.fromarray(((1 - lit) * grey + lit * color).round().astype(np.uint8))


def _weights(pixels: int, cells: int) -> Map:
    """What each cell adds to each pixel along one side, blurred, shape = (pixels, cells)."""
    position = (np.arange(pixels) + 0.5) * cells / pixels
    distance = position[:, None] - (np.arange(cells) + 0.5)
    weights: Map = np.exp(-0.5 * (distance / SMOOTHING) ** 2)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _percent(log_prob: float) -> str:
    percent = 100 * math.exp(log_prob)
    return "< 1 %" if percent < 0.5 else f"{percent:.0f} %"


def _printable(text: str) -> str:
    """On one line, without what no font can take."""
    text = text.encode("utf-8", "replace").decode()
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _wrapped(text: str, width: int) -> list[str]:
    """Lines of the title; only a single word may be wider."""
    lines: list[str] = []
    font = _font(TITLE, text)
    for word in text.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _write(
    pen: ImageDraw.ImageDraw,
    text: str,
    base: tuple[int, int],
    size: int,
    room: int,
    color: str = INK,
) -> int:
    """One line that stands on ``base``, smaller or cut off where it is too long; where it ends."""
    font = _font(size, text)
    while size > TINY and font.getlength(text) > room:
        size -= 1
        font = _font(size, text)
    if (length := font.getlength(text)) > room:
        text = text[: int(len(text) * room / length)]
        while text and font.getlength(f"{text}...") > room:
            text = text[:-1]
        text += "..."
    pen.text(base, text, fill=color, font=font, anchor="ls")
    return base[0] + round(font.getlength(text))


def _font(size: int, text: str = "") -> Font:
    """Pillow's own for ASCII, of which it has little more; made anew, as threads share no font."""
    if not text.isascii() and (file := _other_letters()):
        return ImageFont.truetype(file, size)
    return ImageFont.load_default(size)


@cache
def _other_letters() -> Path | None:
    """DejaVu Sans as it comes with matplotlib, which serving installs but does not import.

    It has Latin, Greek, Cyrillic, Arabic and Hebrew letters among others; those that it lacks,
    Indian and East Asian ones above all, are boxes.
    """
    spec = find_spec("matplotlib")
    for folder in (spec and spec.submodule_search_locations) or ():
        if (file := Path(folder, "mpl-data", "fonts", "ttf", "DejaVuSans.ttf")).is_file():
            return file
    return None
