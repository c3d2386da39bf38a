"""The explanation of a caption, where each word looked, as a picture or as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from model import Caption
from model.attention_picture import attention_picture
from model.files import write_whole

ENDINGS = (".png", ".json")


def save_explanation(path: Path, photo: bytes, caption: Caption, smooth: bool = True) -> None:
    """Write the picture (``.png``) or the numbers (``.json``), whole or not at all.

    Parameters
    ----------
    photo
        The image file that was captioned.
    smooth
        Whether the maps of the picture are blurred, as in the paper, or show the grid's cells.

    Raises
    ------
    ValueError
        The file name has another ending; `InvalidImage` if the photo cannot be decoded.
    """
    check_ending(path)
    if path.suffix.lower() == ".json":
        content = (json.dumps(explanation(caption)) + "\n").encode()
    else:
        content = attention_picture(photo, caption, smooth)
    write_whole(path, content)


def check_ending(path: Path) -> None:
    """Raise `ValueError` unless the ending of a file name says what to write."""
    if path.suffix.lower() not in ENDINGS:
        raise ValueError(f"{path}: the name must end in {' or '.join(ENDINGS)}")


def explanation(caption: Caption) -> dict[str, Any]:
    """Return the numbers of an explanation, for JSON.

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
