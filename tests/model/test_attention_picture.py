from __future__ import annotations

import io
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image

from captioner.paths import ROOT
from model import Caption, InvalidImage
from model import attention_picture as picture
from model.attention_picture import attention_picture, draw_attention

LONG_WORD = "extraordinarily-long-hyphenated-compound-word-that-never-ends"


def photo(size: tuple[int, int] = (90, 60), **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (120, 140, 160)).save(buffer, "PNG", **options)
    return buffer.getvalue()


def caption(words: list[str], attention: torch.Tensor | None = None) -> Caption:
    if attention is None:
        attention = torch.full((len(words), 7, 7), 1 / 49)
    return Caption(" ".join(words), -3.0, words, [-0.5] * len(words), attention)


def opened(png: bytes) -> Image.Image:
    page = Image.open(io.BytesIO(png))
    assert page.format == "PNG"
    page.load()
    return page


def panels(page: Image.Image) -> list[tuple[int, int, int, int]]:
    """Return the boxes of everything between white rows and columns that is large and filled."""
    ink = np.asarray(page.convert("L")) < 250
    found = []
    for top, bottom in _runs(ink.mean(axis=1) > 0.1):
        for left, right in _runs(ink[top:bottom].mean(axis=0) > 0.9):
            if min(bottom - top, right - left) > 40:
                found.append((left, top, right, bottom))
    return found


def _runs(marks: np.ndarray) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.r_[0, marks.astype(np.int8), 0]))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def test_a_panel_for_the_photo_and_every_word() -> None:
    page = opened(attention_picture(photo(), caption(["a", "red", "dog", "runs"])))
    boxes = panels(page)
    assert len(boxes) == 5
    assert len({(right - left, bottom - top) for left, top, right, bottom in boxes}) == 1
    left, top, right, bottom = boxes[0]
    assert (right - left) / (bottom - top) == pytest.approx(3 / 2, rel=0.02)
    assert page.getpixel(((left + right) // 2, (top + bottom) // 2)) == (120, 140, 160)


def test_a_panel_is_bright_where_its_word_looked() -> None:
    attention = torch.full((2, 7, 7), 0.1 / 48)
    attention[0, 1, 5] = attention[1, 5, 1] = 0.9
    page = opened(attention_picture(photo(), caption(["upper", "lower"], attention)))
    for box, (row, column) in zip(panels(page)[1:], [(1, 5), (5, 1)], strict=True):
        shown = np.asarray(page.crop(box).convert("L"), dtype=float)
        height, width = shown.shape
        cells = shown[: height // 7 * 7, : width // 7 * 7]
        cells = cells.reshape(7, height // 7, 7, width // 7).mean(axis=(1, 3))
        assert np.unravel_index(cells.argmax(), cells.shape) == (row, column)
        assert cells.max() > 1.5 * np.median(cells)


def test_a_panel_of_even_attention_is_grey() -> None:
    page = opened(attention_picture(photo(), caption(["even"])))
    shown = np.asarray(page.crop(panels(page)[1]))
    assert shown.max(axis=2).min() == shown.min(axis=2).max()  # one grey


def test_the_photo_is_shown_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    page = opened(attention_picture(photo((60, 40), exif=exif), caption(["dog"])))
    left, top, right, bottom = panels(page)[0]
    assert (right - left) / (bottom - top) == pytest.approx(2 / 3, rel=0.02)


def test_the_same_arguments_give_the_same_picture() -> None:
    """In threads too, as a server draws."""
    arguments = photo(), caption(["a", "dog"])
    with ThreadPoolExecutor(3) as pool:
        pictures = list(pool.map(lambda _: attention_picture(*arguments), range(6)))
    assert len(set(pictures)) == 1


def test_maps_are_smooth_or_show_the_cells() -> None:
    attention = torch.full((1, 7, 7), 0.1 / 48)
    attention[0, 3, 3] = 0.9
    colours = []
    for smooth in (True, False):
        page = opened(attention_picture(photo((70, 70)), caption(["dog"], attention), smooth))
        colours.append(len(page.crop(panels(page)[1]).getcolors(100_000)))
    assert colours[1] == 2 < colours[0]


@pytest.mark.parametrize("width", [560, 1000, 1590])
@pytest.mark.parametrize("size", [(90, 90), (40, 1600), (1600, 40)], ids=str)
def test_panels_fill_a_given_width(width: int, size: tuple[int, int]) -> None:
    page = draw_attention(Image.new("RGB", size, "teal"), caption(["dog"] * 9), width=width)
    assert page.width == width
    frame = np.asarray(page).copy()
    frame[8:-8, 8:-8] = 255
    assert frame.min() == 255
    if size == (90, 90) and width >= 1000:
        assert width - max(right for _, _, right, _ in panels(page)) < 40


@pytest.mark.parametrize(
    "size", [(1, 1), (40, 1600), (1600, 40), (1, 3000), (3000, 1), (640, 480)], ids=str
)
@pytest.mark.parametrize("words", [0, 5, 50])
def test_any_shape_and_length_fits_the_page(size: tuple[int, int], words: int) -> None:
    text = ["a", "dog", LONG_WORD, "running"] * 13
    png = attention_picture(photo(size), caption(text[:words]))
    page = np.asarray(opened(png))
    assert page.shape[1] <= picture.MAX_WIDTH
    assert len(png) < 3_000_000
    # Nothing reaches into the margin, so nothing is cut off.
    frame = page.copy()
    frame[8:-8, 8:-8] = 255
    assert frame.min() == 255


@pytest.mark.parametrize(
    "word", ["собака", "在", "ہے", "🐕", "a\nb", "\ud800", "\0", "", "<unk>", "x" * 5000]
)
def test_any_word_is_drawn(word: str) -> None:
    opened(attention_picture(photo(), caption([word, "dog"])))


@pytest.mark.parametrize(("word", "other"), [("grün", "grön"), ("кошка", "кушка"), ("כלב", "כלה")])
def test_letters_of_other_scripts_are_drawn(word: str, other: str) -> None:
    assert attention_picture(photo(), caption([word])) != attention_picture(
        photo(), caption([other])
    )


def test_attention_on_another_grid_and_in_half_precision() -> None:
    attention = torch.full((1, 14, 14), 1 / 196, dtype=torch.bfloat16)
    opened(attention_picture(photo(), caption(["dog"], attention)))


def test_bytes_that_are_no_photo_are_refused() -> None:
    with pytest.raises(InvalidImage):
        attention_picture(b"no photo", caption(["dog"]))


@pytest.mark.slow
def test_needs_no_matplotlib() -> None:
    code = "import sys, model.attention_picture; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
