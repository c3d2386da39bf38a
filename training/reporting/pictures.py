"""Pages laid out in inches, for pictures of a training and of benchmarks.

They are drawn by matplotlib, without a display and without its global state: any thread may draw.
"""

from __future__ import annotations

import io
import logging
import math
from functools import cache
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.textpath import text_to_path
from numpy.typing import NDArray
from PIL import Image

from model import Caption, attention_picture

log = logging.getLogger("captioner")

DPI = 150
FONT = "DejaVu Sans"  # comes with matplotlib
INK, GREY, ACCENT = "#1a1a1a", "#707070", "#c25100"
MARGIN, GAP = 0.3, 0.15  # inches around a page and between panels
PANEL_AREA = 3.6  # square inches of a panel


class Page:
    """A white page on which things are placed in inches from its upper left corner."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Add axes whose frame has this place and size."""
        bottom = self.height - top - height
        return self.figure.add_axes(
            (left / self.width, bottom / self.height, width / self.width, height / self.height)
        )

    def picture(
        self, pixels: NDArray[np.uint8], left: float, top: float, width: float, height: float
    ) -> None:
        """Fill a place with RGB pixels, shape = (H, W, 3)."""
        axes = self.axes(left, top, width, height)
        axes.imshow(pixels, aspect="auto", interpolation_stage="rgba")
        axes.set_axis_off()

    def text(self, text: str, left: float, base: float, size: float = 9, **style: Any) -> None:
        """Write one line that stands on ``base``, without reading dollar signs as mathematics."""
        style = {"color": INK, "family": FONT, "size": size, "parse_math": False} | style
        self.figure.text(left / self.width, 1 - base / self.height, _drawable(text), None, **style)

    def png(self) -> bytes:
        """Return the page as a PNG file."""
        buffer = io.BytesIO()
        self.figure.savefig(buffer, format="png")
        return buffer.getvalue()


def text_width(text: str, size: float, weight: str = "normal") -> float:
    """Return the inches that a line takes at a font size in points."""
    font = FontProperties(family=FONT, weight=weight, size=size)
    points = text_to_path.get_text_width_height_descent(_drawable(text), font, ismath=False)[0]
    return 1.03 * float(points) / 72  # letters on screen are set a little wider than their outlines


def _drawable(text: str) -> str:
    """Return the text with a box for every letter that the font lacks, and warn of it once."""
    if text.isascii() or all(ord(letter) in _glyphs() for letter in text):
        return text
    _warn_of_boxes()
    return "".join(letter if ord(letter) in _glyphs() else "\u25a1" for letter in text)


@cache
def _glyphs() -> frozenset[int]:
    """Return the code points that the font has in both its weights."""
    files = (findfont(FontProperties(family=FONT, weight=weight)) for weight in ("normal", "bold"))
    plain, bold = (frozenset(get_font(file).get_charmap()) for file in files)
    return plain & bold


@cache
def _warn_of_boxes() -> None:
    log.warning("pictures show boxes for letters that their font, %s, does not have", FONT)


def wrap(text: str, width: float, size: float, weight: str = "normal") -> list[str]:
    """Return a text in lines of at most ``width`` inches; only a single word may be wider."""
    lines: list[str] = []
    for word in text.split():
        if lines and text_width(f"{lines[-1]} {word}", size, weight) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def attention_page(photo: Image.Image, caption: Caption, width: float) -> Page:
    """Draw where each word of a caption looked, on a page of this width in inches.

    Parameters
    ----------
    photo
        RGB, upright and in its own shape.
    """
    # The photo and its panels begin where the page's other pictures do.
    inset = round(MARGIN * DPI) - attention_picture.MARGIN
    drawn = attention_picture.draw_attention(photo, caption, width=round(width * DPI) - 2 * inset)
    page = Page(width, drawn.height / DPI)
    page.picture(np.asarray(drawn), inset / DPI, 0, drawn.width / DPI, page.height)
    return page


def panel_size(ratio: float) -> tuple[float, float]:
    """Return width and height in inches of a photo with this ratio of the two, in a panel."""
    return math.sqrt(PANEL_AREA * ratio), math.sqrt(PANEL_AREA / ratio)
