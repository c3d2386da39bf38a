"""TorchServe adapter: requests -> one call into `Captioner` -> replies. No tensor work.

TorchServe imports this file by its name from the unpacked archive, wants exactly one class in it,
and calls ``initialize`` once and ``handle`` with every batch.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

# A worker runs the code of its own archive: on PYTHONPATH a checkout's `model` would come first,
# and a second version would silently run the first one's code.
ARCHIVE = Path(__file__).resolve().parent
sys.path.insert(0, str(ARCHIVE))

import torch  # noqa: E402

import model  # noqa: E402
from model import Caption, Captioner, DecodingOptions, InvalidImage  # noqa: E402

logger = logging.getLogger(__name__)


class CaptionerHandler:
    """Answers a batch of requests; an error in one never reaches its neighbours."""

    captioner: Captioner
    options: DecodingOptions

    def initialize(self, context: Any) -> None:
        """Load the archive's checkpoint and caption once, so that no request meets a cold worker.

        Raises
        ------
        ValueError
            The checkpoint is damaged, or model-config.yaml asks for what cannot be.
        """
        properties = context.system_properties
        folder = Path(properties["model_dir"])
        code = Path(model.__file__ or "").resolve()
        if not code.is_relative_to(folder.resolve()):
            raise RuntimeError(
                f"the worker of {folder} has imported {code}, not its archive's code"
            )
        config = context.model_yaml_config or {}
        settings = config.get("handler", {})
        torch.set_num_threads(_threads(config, torch.get_num_threads()))
        self.options = DecodingOptions(**settings.get("decoding", {}))
        device = _device(settings, properties.get("gpu_id"))
        self.captioner = Captioner.load(folder, device, settings.get("precision", "auto"))
        self.captioner.warm_up(self.options)
        logger.info("captioner ready: %s", self.options)

    def handle(self, data: list[dict[str, Any]], context: Any) -> list[str]:
        """A JSON text for every request, in order.

        ``{"caption", "log_prob"}``, or status 400 and ``{"error": {"code", "message"}}``.
        """
        photos = [_photo(request) for request in data]
        found = self.captioner.caption_each(
            [photo for photo in photos if not isinstance(photo, InvalidImage)], self.options
        )
        captions = iter(found)
        replies = []
        for i, photo in enumerate(photos):
            answer = photo if isinstance(photo, InvalidImage) else next(captions)
            context.set_response_content_type(i, "application/json")
            if isinstance(answer, InvalidImage):
                context.set_response_status(400, "Bad Request", i)
                replies.append(_error("invalid_image", str(answer)))
            else:
                replies.append(_reply(answer))
        return replies


def _device(settings: dict[str, Any], gpu: int | None) -> str:
    """What ``deviceType`` gave the worker; a GPU that was asked for must be there."""
    if gpu is not None and gpu >= 0 and torch.cuda.is_available():
        return f"cuda:{gpu}"
    if settings.get("require_gpu"):
        raise ValueError("model-config.yaml says require_gpu, but the worker was given no GPU")
    return "cpu"


def _threads(config: dict[str, Any], cores: int) -> int:
    """Of this worker: as configured, or its share; workers that all take all cores wait in turn."""
    threads: int = config.get("handler", {}).get("threads", 0)
    return threads or max(1, cores // config.get("maxWorkers", 1))


def _photo(request: dict[str, Any]) -> bytes | InvalidImage:
    """The photo's bytes: the body, the multipart field ``data``, or the only field there is."""
    fields = [request[name] for name in ("data", "body") if name in request] or list(
        request.values()
    )
    if len(fields) != 1:
        return InvalidImage("the request holds no photo: send one file, as the body or as 'data'")
    if not isinstance(fields[0], bytes | bytearray):
        return InvalidImage(
            "the request is text, not a photo: send the file itself, with curl -T photo.jpg"
        )
    return bytes(fields[0])


def _reply(captions: list[Caption]) -> str:
    return json.dumps({"caption": captions[0].text, "log_prob": captions[0].log_prob})


def _error(code: str, message: str) -> str:
    return json.dumps({"error": {"code": code, "message": message}})
