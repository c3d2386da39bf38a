"""Lines of text in pictures, with fonts that Pillow and matplotlib bring."""

from __future__ import annotations

import logging
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from PIL import ImageDraw, ImageFont

log = logging.getLogger("captioner")

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

MIN_SIZE = 11  # of letters that are made smaller to fit, pixels
NO_LETTER = "\U0010ffff"  # a code point that no font has


def printable(text: str) -> str:
    """Return the text on one line, without characters that no font can draw."""
    text = text.encode("utf-8", "replace").decode()
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def wrap(text: str, size: int, width: int) -> list[str]:
    """Return a text in lines; only a single word may be wider than the width in pixels."""
    lines: list[str] = []
    font = font_for(size, text)
    for word in text.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def write_line(
    pen: ImageDraw.ImageDraw,
    text: str,
    base: tuple[int, int],
    size: int,
    room: int,
    color: str,
) -> int:
    """Write one line, smaller or cut off if it is too long, and return where it ends.

    Parameters
    ----------
    base
        Left end of the line on which the letters stand, pixels.
    size, room
        Height of the letters and the length that the line may have, pixels.
    """
    font = font_for(size, text)
    while size > MIN_SIZE and font.getlength(text) > room:
        size -= 1
        font = font_for(size, text)
    if (length := font.getlength(text)) > room:
        text = text[: int(len(text) * room / length)]
        while text and font.getlength(f"{text}...") > room:
            text = text[:-1]
        text += "..."
    _warn_of_boxes(text, font)
    pen.text(base, text, fill=color, font=font, anchor="ls")
    return base[0] + round(font.getlength(text))


def font_for(size: int, text: str = "") -> Font:
    """Return Pillow's own font, which has little more than ASCII, or one with other letters.

    It is made anew each time, as threads must not share a font.
    """
    if not text.isascii() and (file := _font_of_other_letters()):
        return ImageFont.truetype(file, size)
    return ImageFont.load_default(size)


@cache
def _font_of_other_letters() -> Path | None:
    """Return the file of DejaVu Sans, which comes with matplotlib, if that is installed.

    It has Latin, Greek, Cyrillic, Arabic and Hebrew letters among others, but no Indian and East
    Asian ones. matplotlib is not imported.
    """
    spec = find_spec("matplotlib")
    for folder in (spec and spec.submodule_search_locations) or ():
        if (file := Path(folder, "mpl-data", "fonts", "ttf", "DejaVuSans.ttf")).is_file():
            return file
    return None


def _warn_of_boxes(text: str, font: Font) -> None:
    """Warn, once in a process, if the font shows a letter of the text as a box."""
    if text.isascii():
        return
    box = bytes(font.getmask(NO_LETTER))
    if any(bytes(font.getmask(letter)) == box for letter in {*text} if letter != " "):
        _warn_once()


@cache
def _warn_once() -> None:
    log.warning("pictures show boxes for letters that their font does not have")
