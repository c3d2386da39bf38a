"""Where a captioner looked at every word of a caption, as a picture or as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from model import Caption, image
from model.files import write_whole
from training.reporting.pictures import Page, attention_page

ENDINGS = (".png", ".json")
LEAST_PIXELS = 1200  # a side, twice what the largest panel shows


def save_explanation(path: Path, photo: bytes, caption: Caption, smooth: bool = True) -> None:
    """Write the picture (``.png``) or the figures (``.json``), whole or not at all.

    Parameters
    ----------
    photo
        The image file that the caption is of.
    smooth
        Of the picture: maps blurred, as the paper shows them, or in the grid's own cells.

    Raises
    ------
    ValueError
        The name ends otherwise; `InvalidImage` if the photo is none.
    """
    check_ending(path)
    if path.suffix.lower() == ".json":
        content = (json.dumps(explanation(caption)) + "\n").encode()
    else:
        content = _page(photo, caption, smooth).png()
    write_whole(path, content)


def check_ending(path: Path) -> None:
    """Raise `ValueError` unless the name says what to write."""
    if path.suffix.lower() not in ENDINGS:
        raise ValueError(f"{path}: the name must end in {' or '.join(ENDINGS)}")


def explain(photo: bytes, caption: Caption, smooth: bool = True) -> Figure:
    """The picture: the photo, then a panel for every word; raises `InvalidImage`."""
    return _page(photo, caption, smooth).figure


def explanation(caption: Caption) -> dict[str, Any]:
    """The figures, ready for JSON.

    Returns
    -------
    ``caption``, ``log_prob``, and in ``words`` for each of them ``word``, ``log_prob`` and
    ``attention``: rows of the grid from the photo's top, summing to 1, shape = (h, w)
    """
    return {
        "caption": caption.text,
        "log_prob": round(caption.log_prob, 5),
        "words": [
            {"word": word, "log_prob": round(log_prob, 5), "attention": _rounded(attention)}
            for word, log_prob, attention in zip(
                caption.words, caption.word_log_probs, caption.attention.tolist(), strict=True
            )
        ],
    }


def _rounded(rows: list[list[float]]) -> list[list[float]]:
    return [[round(share, 5) for share in row] for row in rows]


def _page(photo: bytes, caption: Caption, smooth: bool) -> Page:
    return attention_page(image.open_rgb(photo, LEAST_PIXELS), caption, smooth)
