"""The description of a served model: ``GET :8081/models/captioner?customized=true``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from handler.budget import MAX_PIXELS as MAX_REQUEST_PIXELS
from handler.budget import MAX_SECONDS
from handler.caption_request import MAX_PHOTO_BYTES, MAX_PHOTOS
from handler.options import RequestOptions, option_schemas
from model import Captioner, checkpoint
from model.image import MAX_PIXELS, accepted


def describe(
    captioner: Captioner, defaults: RequestOptions, model: Mapping[str, str], folder: Path
) -> dict[str, Any]:
    """Return a model's card, notices, options with ranges, formats and limits, for JSON.

    Parameters
    ----------
    defaults
        The options of a request that names none.
    model
        ``name``, ``version`` and ``digest``.
    folder
        The checkpoint, which may hold a model card.
    """
    card = folder / checkpoint.CARD
    options = {
        name: schema | {"default": asdict(defaults)[name]}
        for name, schema in option_schemas().items()
    }
    config = captioner.network.config
    return {
        "model": model,
        "worker": os.getpid(),  # a deploy that removes a version asks each worker
        "card": card.read_text(encoding="utf-8") if card.is_file() else "",
        "notices": config.notices,  # what its data and weights may be used for
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
