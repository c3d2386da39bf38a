"""Drawing: pages laid out in inches, and where a captioner looked at every word of a caption.

Needs matplotlib, but neither a display nor its global state: pages may be drawn in any thread.
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

from model.captioner import Caption

log = logging.getLogger("captioner")

Map = NDArray[np.floating[Any]]

DPI = 150
FONT = "DejaVu Sans"  # comes with matplotlib
INK, GREY, ACCENT = "#1a1a1a", "#707070", "#c25100"
# Inches: around a page, between panels, above a panel for its word, of a line of a heading.
MARGIN, GAP, TITLE, LINE = 0.3, 0.15, 0.26, 0.3
PANEL_AREA, LONGEST = 3.6, 4.0  # of a panel, whatever the photo's shape: square inches, inches
LEAST_CELL, LEAST_PAGE = 1.4, 5.5  # inches in which a word, and the legend, have room
SHAPE = 1.4  # width to height that a page of panels aims at

# Attention is shown in even shares, 1 / P: plain grey up to one of them, full colour from four on.
# Being the same for all words and photos, the scale shows a peaked map as peaked.
EVEN, FULL = 1.0, 4.0
SMOOTHING = 0.5  # standard deviation of the blur, grid cells
DARK, LIGHT = np.array([225.0, 80.0, 0.0]), np.array([255.0, 240.0, 160.0])  # RGB of full colour


class Page:
    """A white figure on which things are placed in inches from its upper left corner."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Axes whose frame has this place and size."""
        bottom = self.height - top - height
        return self.figure.add_axes(
            (left / self.width, bottom / self.height, width / self.width, height / self.height)
        )

    def picture(
        self, pixels: NDArray[np.uint8], left: float, top: float, width: float, height: float
    ) -> None:
        """RGB pixels, shape = (H, W, 3), filling the place."""
        axes = self.axes(left, top, width, height)
        axes.imshow(pixels, aspect="auto", interpolation_stage="rgba")
        axes.set_axis_off()

    def text(self, text: str, left: float, base: float, size: float = 9, **style: Any) -> None:
        """One line that stands on ``base``; a dollar sign is a dollar sign, not mathematics."""
        style = {"color": INK, "family": FONT, "size": size, "parse_math": False} | style
        self.figure.text(left / self.width, 1 - base / self.height, _drawable(text), None, **style)

    def png(self) -> bytes:
        """The page as a PNG file."""
        buffer = io.BytesIO()
        self.figure.savefig(buffer, format="png")
        return buffer.getvalue()


def text_width(text: str, size: float, weight: str = "normal") -> float:
    """Inches that a line takes at a font size in points."""
    font = FontProperties(family=FONT, weight=weight, size=size)
    points = text_to_path.get_text_width_height_descent(_drawable(text), font, ismath=False)[0]
    return 1.03 * float(points) / 72  # letters on screen are set a little wider than their outlines


def _drawable(text: str) -> str:
    """The text with a box for every letter that the font lacks, which is said once."""
    if text.isascii() or all(ord(letter) in _glyphs() for letter in text):
        return text
    _say_what_the_font_lacks()
    return "".join(letter if ord(letter) in _glyphs() else "\u25a1" for letter in text)


@cache
def _glyphs() -> frozenset[int]:
    """The code points that the font has, upright and bold."""
    files = (findfont(FontProperties(family=FONT, weight=weight)) for weight in ("normal", "bold"))
    plain, bold = (frozenset(get_font(file).get_charmap()) for file in files)
    return plain & bold


@cache
def _say_what_the_font_lacks() -> None:
    log.warning("pictures show boxes for letters that their font, %s, does not have", FONT)


def wrap(text: str, width: float, size: float, weight: str = "normal") -> list[str]:
    """Lines of at most ``width`` inches; only a single word may be wider."""
    lines: list[str] = []
    for word in text.split():
        if lines and text_width(f"{lines[-1]} {word}", size, weight) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def stretch(attention: Map, size: tuple[int, int], smooth: bool) -> Map:
    """Lay a map of attention over a photo whose square it was computed on.

    Parameters
    ----------
    attention
        Shape = (h, w).
    size
        Height and width of the photo, pixels.
    smooth
        Blur by a Gaussian of `SMOOTHING` cells; otherwise a pixel has the value of its cell.

    Returns
    -------
    Every pixel a weighted mean of cells, so an even map stays even, shape = ``size``
    """
    rows, columns = (
        _weights(n, cells, smooth) for n, cells in zip(size, attention.shape, strict=True)
    )
    return np.asarray(rows @ attention @ columns.T)


def _weights(pixels: int, cells: int, smooth: bool) -> Map:
    """What each cell adds to each pixel along one side, shape = (pixels, cells)."""
    position = (np.arange(pixels) + 0.5) * cells / pixels
    distance = position[:, None] - (np.arange(cells) + 0.5)
    weights: Map = np.exp(-0.5 * (distance / SMOOTHING) ** 2)
    if not smooth:
        weights = np.eye(cells)[position.astype(int)]
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def overlay(photo: Image.Image, attention: Map, smooth: bool = True) -> NDArray[np.uint8]:
    """The photo in dim grey, and in bright orange where the attention is.

    Grey against hue keeps dark and light photos apart from their attention alike.

    Returns
    -------
    RGB, shape = (H, W, 3) of the photo
    """
    light = np.asarray(photo.convert("L"), dtype=np.float32)[..., None] / 255
    shares = stretch(attention, (photo.height, photo.width), smooth)[..., None] * attention.size
    lit = np.clip((shares - EVEN) / (FULL - EVEN), 0, 1) ** 0.75
    grey, color = 255 * (0.1 + 0.5 * light), DARK + (LIGHT - DARK) * light
    return np.asarray((1 - lit) * grey + lit * color).round().astype(np.uint8)


def attention_page(
    photo: Image.Image, caption: Caption, smooth: bool = True, width: float | None = None
) -> Page:
    """A photo with its caption, then a panel for every word: where that word looked.

    Parameters
    ----------
    photo
        RGB, upright and in its true shape; the maps of its squashed twin are stretched to it.
    smooth
        See `stretch`.
    width
        Inches of the page; if not given, what makes a page of pleasant shape.
    """
    across, high = panel_size(photo.width / photo.height)
    cell = max(across, LEAST_CELL) + GAP, TITLE + high + GAP
    columns = _columns(len(caption.words) + 1, cell, width)
    rows = -(-(len(caption.words) + 1) // columns)
    width = width or max(LEAST_PAGE, 2 * MARGIN + columns * cell[0] - GAP)
    lines = wrap(caption.text or "(no word)", width - 2 * MARGIN, 15, "bold")

    top = MARGIN + LINE * len(lines) + LINE
    page = Page(width, top + rows * cell[1] - GAP + MARGIN)
    for i, line in enumerate(lines):
        page.text(line, MARGIN, MARGIN + LINE * (i + 0.6), size=15, weight="bold")
    _legend(page, caption.log_prob, top - 0.12)

    pixels = round(across * DPI), round(high * DPI)
    small = photo.convert("RGB").resize(pixels, Image.Resampling.LANCZOS)
    panels = [np.asarray(small)]
    panels += [overlay(small, attention.cpu().numpy(), smooth) for attention in caption.attention]
    for i, panel in enumerate(panels):
        left, base = MARGIN + i % columns * cell[0], top + i // columns * cell[1] + TITLE
        page.picture(panel, left, base, across, high)
        if i:
            word, log_prob = caption.words[i - 1], caption.word_log_probs[i - 1]
            _title(page, word, log_prob, left, base - 0.07, cell[0] - GAP)
    return page


def panel_size(ratio: float) -> tuple[float, float]:
    """Width and height in inches of a photo with this ratio of the two, in a panel."""
    width, height = math.sqrt(PANEL_AREA * ratio), math.sqrt(PANEL_AREA / ratio)
    shrink = min(1, LONGEST / width, LONGEST / height)
    least = 1 / DPI  # a photo that is all but a line still shows
    return max(width * shrink, least), max(height * shrink, least)


def _columns(panels: int, cell: tuple[float, float], width: float | None) -> int:
    """Panels side by side: what fits, or else a shape near `SHAPE` with few empty places."""
    if width is not None:
        return min(panels, max(1, int((width - 2 * MARGIN + GAP) / cell[0])))

    def ugliness(columns: int) -> float:
        rows = -(-panels // columns)
        shape = columns * cell[0] / (rows * cell[1] + 2 * LINE)
        return abs(math.log(shape / SHAPE)) + (columns * rows - panels) / columns

    return min(range(1, panels + 1), key=ugliness)


def _title(page: Page, word: str, log_prob: float, left: float, base: float, width: float) -> None:
    """The word and, in small grey type, its probability."""
    percent = 100 * math.exp(log_prob)
    chance = "< 1 %" if percent < 0.5 else f"{percent:.0f} %"
    room = width - text_width(chance, 8) - 0.08
    size = 11 * min(1, room / text_width(word, 11, "bold"))
    page.text(word, left, base, size, weight="bold")
    page.text(chance, left + text_width(word, size, "bold") + 0.08, base, 8, color=GREY)


def _legend(page: Page, log_prob: float, base: float) -> None:
    """The caption's log-probability, and what the colour stands for."""
    words = f"log-probability {log_prob:.2f}     attention: an even share"
    page.text(words, MARGIN, base, color=GREY)
    left = MARGIN + text_width(words, 9) + 0.05
    ramp = np.linspace(EVEN, FULL, 90, dtype=np.float32)[None] / 90
    grey = Image.new("RGB", (90, 12), (150, 150, 150))
    page.picture(overlay(grey, ramp, smooth=False), left, base - 0.1, 0.6, 0.1)
    page.text(f"{FULL:.0f} times that", left + 0.7, base, color=GREY)
