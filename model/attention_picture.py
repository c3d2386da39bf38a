"""The picture of a caption's attention: where each word looked, drawn with Pillow alone.

The server, `captioner explain` and training's samples all show this picture.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from model import Caption
from model.attention_overlay import EVEN, FULL, overlay
from model.image import open_rgb
from model.lettering import font_for, printable, wrap, write_line

# Sizes are pixels: of the page, of the space around it, between panels, and above each for a word.
MAX_WIDTH, MIN_WIDTH, MARGIN, GAP, LABEL = 1600, 560, 28, 20, 30
PANEL_AREA, MAX_SIDE, MIN_SIDE = 240 * 240, 420, 8  # of one panel, whatever the photo's shape
MAX_AREA = 1_400_000  # of all panels together: those of a long caption are smaller
MIN_CELL = 170  # width in which a word has room
ASPECT = 1.4  # width / height that a page aims at
TITLE, WORD, SMALL = 26, 19, 14  # heights of letters
LINE = TITLE * 4 // 3
INK, GREY = "#1a1a1a", "#6a6a6a"


class _Layout(NamedTuple):
    """Panels in rows: the photo, then the words."""

    panels: int
    panel: tuple[int, int]  # width and height of a photo
    cell: tuple[int, int]  # the same with its label and the gaps to the next panels
    columns: int
    width: int  # of the page

    @property
    def height(self) -> int:
        """The height of all rows."""
        return -(-self.panels // self.columns) * self.cell[1] - GAP

    def places(self, top: int) -> Iterator[tuple[int, int]]:
        """Yield the upper left corner of each panel's photo, for rows that begin at ``top``."""
        for i in range(self.panels):
            row, column = divmod(i, self.columns)
            yield MARGIN + column * self.cell[0], top + row * self.cell[1] + LABEL


def attention_picture(photo: bytes, caption: Caption, smooth: bool = True) -> bytes:
    """Return the picture of a caption's attention as a PNG file.

    Parameters
    ----------
    photo
        The image file that was captioned.
    smooth
        See `draw_attention`.

    Raises
    ------
    model.InvalidImage
        The photo cannot be decoded.
    """
    buffer = io.BytesIO()
    draw_attention(open_rgb(photo, MAX_SIDE), caption, smooth).save(buffer, "PNG")
    return buffer.getvalue()


def draw_attention(
    photo: Image.Image, caption: Caption, smooth: bool = True, width: int | None = None
) -> Image.Image:
    """Draw a photo with its caption, then a panel for every word: bright where the word looked.

    Parameters
    ----------
    photo
        RGB, upright and in its own shape; the maps are stretched to it.
    smooth
        Whether the maps are blurred, as in the paper, or show the cells of the grid.
    width
        Pixels of the page, at least `MIN_WIDTH`; if not given, it follows from the panels and is
        at most `MAX_WIDTH`.

    Returns
    -------
    The page, RGB; the same for the same arguments
    """
    layout = _layout(photo.width / photo.height, len(caption.words) + 1, width)
    room = layout.width - 2 * MARGIN
    title = wrap(printable(caption.text) or "(no word)", TITLE, room)
    top = MARGIN + LINE * len(title) + 2 * SMALL
    page = Image.new("RGB", (layout.width, top + layout.height + MARGIN), "white")
    pen = ImageDraw.Draw(page)
    for i, line in enumerate(title):
        write_line(pen, line, (MARGIN, MARGIN + LINE * i + TITLE), TITLE, room, INK)
    _draw_legend(page, caption.log_prob, top - SMALL)

    small = photo.resize(layout.panel, Image.Resampling.LANCZOS)
    for i, (left, upper) in enumerate(layout.places(top)):
        if i == 0:
            page.paste(small, (left, upper))
            continue
        attention = caption.attention[i - 1].float().cpu().numpy()
        page.paste(overlay(small, attention, smooth), (left, upper))
        word, log_prob = caption.words[i - 1], caption.word_log_probs[i - 1]
        _draw_label(pen, word, log_prob, (left, upper - 9), layout.cell[0] - GAP)
    return page


def _layout(ratio: float, panels: int, width: int | None) -> _Layout:
    """Lay out panels of photos with a ratio of width to height; see `draw_attention`."""
    panel = _panel_size(ratio, min(PANEL_AREA, MAX_AREA // panels))
    cell = _cell(panel)
    room = (width or MAX_WIDTH) - 2 * MARGIN + GAP
    fit = max(1, room // cell[0])
    if width is None:
        columns = _columns(min(panels, fit), panels, cell)
        width = max(MIN_WIDTH, 2 * MARGIN + columns * cell[0] - GAP)
        return _Layout(panels, panel, cell, columns, width)
    # Panels fill the width, but for those of a tall photo.
    scale = min((room // fit - GAP) / panel[0], MAX_SIDE / max(panel))
    panel = round(panel[0] * scale), round(panel[1] * scale)
    return _Layout(panels, panel, _cell(panel), min(panels, fit), width)


def _panel_size(ratio: float, area: float) -> tuple[int, int]:
    """Return width and height of a panel; even a photo that is almost a line can be seen."""
    width, height = math.sqrt(area * ratio), math.sqrt(area / ratio)
    shrink = min(1, MAX_SIDE / width, MAX_SIDE / height)
    return max(round(width * shrink), MIN_SIDE), max(round(height * shrink), MIN_SIDE)


def _cell(panel: tuple[int, int]) -> tuple[int, int]:
    """Return width and height of a panel with its label and the gaps to its neighbours."""
    return max(panel[0], MIN_CELL) + GAP, LABEL + panel[1] + GAP


def _columns(most: int, panels: int, cell: tuple[int, int]) -> int:
    """Return the number of columns, at most so many, that gives a page of a pleasant shape."""

    def ugliness(columns: int) -> float:
        rows = -(-panels // columns)
        aspect = columns * cell[0] / (rows * cell[1])
        empty = columns * rows - panels
        return abs(math.log(aspect / ASPECT)) + empty / columns

    return min(range(1, most + 1), key=ugliness)


def _draw_legend(page: Image.Image, log_prob: float, base: int) -> None:
    """Write the caption's log-probability and show what the colours stand for."""
    pen, room = ImageDraw.Draw(page), page.width - 2 * MARGIN
    text = f"log-probability {log_prob:.2f}     attention: an even share"
    end = write_line(pen, text, (MARGIN, base), SMALL, room, GREY) + 8
    grey = Image.new("RGB", (90, SMALL - 4), (150, 150, 150))
    ramp = np.linspace(EVEN, FULL, grey.width, dtype=np.float32)[None] / grey.width
    page.paste(overlay(grey, ramp, smooth=False), (end, base - grey.height))
    end += grey.width + 8
    write_line(pen, f"{FULL:.0f} times that", (end, base), SMALL, page.width - MARGIN - end, GREY)


def _draw_label(
    pen: ImageDraw.ImageDraw, word: str, log_prob: float, base: tuple[int, int], room: int
) -> None:
    """Write a word and, small and in grey, its probability."""
    percent = 100 * math.exp(log_prob)
    chance = "< 1 %" if percent < 0.5 else f"{percent:.0f} %"
    room -= round(font_for(SMALL).getlength(chance)) + 10
    end = write_line(pen, printable(word), base, WORD, room, INK)
    write_line(pen, chance, (end + 8, base[1]), SMALL, room, GREY)
