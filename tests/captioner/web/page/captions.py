"""A captioner without a network: it replies as a real one, of a caption that is known."""

from __future__ import annotations

import io

from PIL import Image, UnidentifiedImageError

from captioner.web.messages import Question
from handler.caption_request import MAX_PHOTO_BYTES
from handler.errors import RequestError
from handler.options import from_headers, option_schemas
from handler.replies import Reply, refusal, to_json
from handler.routes import Route

WORDS = ["a", "man", "'s", "camera"]
CAPTION = "a man's camera"
CONFIDENCE = 0.77
OTHERS = ["a camera", "a man, outside"]
GRID = (2, 4)  # rows, columns


def weights(i: int) -> list[list[float]]:
    """Return the attention of a word: each looks at another cell, and a little at all."""
    rows, columns = GRID
    cells = [0.02] * (rows * columns)
    cells[i] += 1 - sum(cells)
    return [cells[row * columns : (row + 1) * columns] for row in range(rows)]


def reply(question: Question) -> Reply:
    """Answer as the handler does."""
    if question.route is Route.DESCRIBE:
        return Reply(to_json(description()))
    try:
        with Image.open(io.BytesIO(question.body)) as photo:
            size, format = photo.size, photo.format
    except UnidentifiedImageError:
        return refusal(RequestError("invalid_image", "this is no image"), question.id)
    asked = from_headers(question.headers)
    others = int(asked["num_captions"]) - 1
    return Reply(
        to_json(
            {
                **summary(CAPTION, CONFIDENCE),
                "model": {"name": "captioner", "version": "1.0", "digest": "d1"},
                "request_id": question.id,
                "alternatives": [summary(text, 0.5) for text in OTHERS[:others]],
                "attention": {
                    "grid": GRID,
                    "maps": [{"word": word, "weights": weights(i)} for i, word in enumerate(WORDS)],
                },
                "image": {"width": size[0], "height": size[1], "format": format},
            }
        )
    )


def summary(caption: str, confidence: float) -> dict[str, object]:
    return {"caption": caption, "confidence": confidence, "log_prob": -9.87654}


def description() -> dict[str, object]:
    """Return what the page reads of a captioner's description."""
    schemas = option_schemas()
    defaults = {"beam_size": 10, "max_length": 18, "length_penalty": 0.6, "consensus": True}
    return {
        "options": {name: schemas[name] | {"default": value} for name, value in defaults.items()},
        "formats": ["JPEG", "PNG"],
        "limits": {"bytes_a_photo": MAX_PHOTO_BYTES},
    }
