"""What the model says of itself: ``GET :8081/models/captioner?customized=true``."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

from handler.budget import MAX_PIXELS as MAX_REQUEST_PIXELS
from handler.budget import MAX_SECONDS
from handler.options import RequestOptions, described
from handler.parsing import MAX_PHOTO_BYTES, MAX_PHOTOS
from model import Captioner, checkpoint
from model.image import MAX_PIXELS, accepted


def describe(
    captioner: Captioner, defaults: RequestOptions, model: dict[str, str], folder: Path
) -> str:
    """The model card, the options with their ranges and defaults, formats and limits, as JSON."""
    card = folder / checkpoint.CARD
    options = {
        name: told | {"default": asdict(defaults)[name]} for name, told in described().items()
    }
    config = captioner.network.config
    return json.dumps(
        {
            "model": model,
            "worker": os.getpid(),  # a deploy that removes a version asks each worker
            "card": card.read_text(encoding="utf-8") if card.is_file() else "",
            "encoder": config.encoder,
            "words": config.vocabulary_size,
            "calibrated": captioner.calibration is not None,
            "device": str(captioner.device),
            "options": options,
            "formats": list(accepted()),
            "limits": {
                "bytes_a_photo": MAX_PHOTO_BYTES,
                "pixels_a_photo": MAX_PIXELS,
                "photos_a_request": MAX_PHOTOS,
                "pixels_a_request": MAX_REQUEST_PIXELS,
                "decoding_seconds_a_request": MAX_SECONDS,
            },
        }
    )
