"""The pages that pictures are laid out on."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from model import Caption
from model.attention_picture import draw_attention
from training.reporting import pictures
from training.reporting.pictures import Page, attention_page, text_width, wrap


def test_letters_that_the_font_lacks_are_boxes_and_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pictures._warn_of_boxes.cache_clear()
    page = Page(3, 1)
    for i, word in enumerate(["grün", "कुत्ता", "红"]):
        page.text(word, i, 0.5)
    assert page.png()  # a letter without an outline would be a warning, which is an error here
    shown = {text.get_text() for text in page.figure.texts}
    assert "grün" in shown
    assert not shown & {"कुत्ता", "红"}
    assert len(caplog.records) == 1
    assert "pictures show boxes for letters that their font" in caplog.text


def test_dollar_signs_are_drawn_as_they_are() -> None:
    page = Page(3, 1)
    page.text("$x$", 0.2, 0.5)
    page.png()
    (text,) = page.figure.texts
    assert (text.get_text(), text.get_parse_math()) == ("$x$", False)


def test_a_page_shows_the_attention_in_its_width() -> None:
    words = ["a", "red", "circle"]
    caption = Caption("a red circle", -3.0, words, [-1.0] * 3, torch.full((3, 4, 4), 1 / 16))
    photo = Image.new("RGB", (96, 96), "red")
    page = attention_page(photo, caption, width=10)
    shown = np.asarray(Image.open(io.BytesIO(page.png())).convert("RGB")).astype(int)
    drawn = np.asarray(draw_attention(photo, caption, width=1500 - 2 * 17)).astype(int)
    assert np.abs(shown[:, 17:-17] - drawn).max() <= 1


def test_wrap() -> None:
    text = "a man in a red shirt is sitting on a skateboard"
    lines = wrap(text, 1.5, 10, "bold")
    assert " ".join(lines) == text
    assert len(lines) > 2
    assert all(text_width(line, 10, "bold") <= 1.5 for line in lines)
    assert wrap("", 1, 10) == []
    assert wrap("w" * 50, 1, 10) == ["w" * 50]
