from __future__ import annotations

import pytest
from PIL import Image, ImageDraw

from model import lettering
from model.lettering import font_for, printable, wrap, write_line


def pen() -> ImageDraw.ImageDraw:
    return ImageDraw.Draw(Image.new("RGB", (400, 60)))


def test_a_text_is_wrapped_between_words() -> None:
    text = "a man in a red shirt is sitting on a skateboard"
    lines = wrap(text, 20, 150)
    assert " ".join(lines) == text
    assert len(lines) > 2
    assert all(font_for(20, line).getlength(line) <= 150 for line in lines)
    assert wrap("", 20, 150) == []
    assert wrap("w" * 50, 20, 150) == ["w" * 50]


@pytest.mark.parametrize("text", ["dog", "skateboarding", "w" * 500])
def test_a_line_ends_within_its_room(text: str) -> None:
    assert 10 < write_line(pen(), text, (10, 40), 20, 60, "white") <= 71


@pytest.mark.parametrize(
    ("text", "shown"), [("a\nb", "a b"), ("\0", ""), (" a  b ", "a b"), ("\ud800", "?")]
)
def test_characters_that_no_font_can_draw_are_left_out(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_letters_without_a_shape_in_the_font_are_warned_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lettering._warn_once.cache_clear()
    for text in ("dog", "grün", "собака"):
        write_line(pen(), text, (0, 40), 20, 300, "white")
    assert not caplog.records
    for text in ("कुत्ता", "红"):
        write_line(pen(), text, (0, 40), 20, 300, "white")
    assert len(caplog.records) == 1
    assert "pictures show boxes for letters that their font does not have" in caplog.text
