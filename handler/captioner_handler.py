"""TorchServe adapter: requests -> one call into `Captioner` -> replies. No tensor work.

TorchServe imports this file by its name from the unpacked archive, wants exactly one class in it,
and calls ``initialize`` once and ``handle`` with every batch.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import sys
import time
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

# A worker runs the code of its own archive: on PYTHONPATH a checkout's packages would come first,
# and a second version would silently run the first one's code.
ARCHIVE = Path(__file__).resolve().parent
if (ARCHIVE / "MAR-INF").is_dir():
    sys.path.insert(0, str(ARCHIVE))

import torch  # noqa: E402
from PIL import Image  # noqa: E402

import handler  # noqa: E402
import model  # noqa: E402
from handler import replies  # noqa: E402
from handler.description import describe  # noqa: E402
from handler.errors import RequestError  # noqa: E402
from handler.metrics import Metrics  # noqa: E402
from handler.options import RequestOptions  # noqa: E402
from handler.parsing import Form, Request, parse  # noqa: E402
from handler.picture import attention_picture  # noqa: E402
from handler.shadow import Answered, Shadow  # noqa: E402
from model import Caption, Captioner, InvalidImage, checkpoint, image  # noqa: E402
from model.captioner import Seconds  # noqa: E402
from model.image import UnsupportedFormat  # noqa: E402

logger = logging.getLogger(__name__)

# Pillow's blocks are of 16 MiB, which glibc keeps for itself, for every thread that ever decoded:
# 1 GiB was seen. Blocks of over 32 MiB always go back to the system.
PILLOW_BLOCK_SIZE = 64 * 2**20  # bytes


class CaptionerHandler:
    """Answers a batch of requests; an error in one never reaches its neighbours."""

    captioner: Captioner
    options: RequestOptions  # what a request gets that asks for nothing
    model: dict[str, str]  # name, version and digest
    metrics: Metrics
    shadow: Shadow
    folder: Path

    def initialize(self, context: Any) -> None:
        """Load the archive's checkpoint and caption once, so that no request meets a cold worker.

        Raises
        ------
        ValueError
            The checkpoint is damaged, or model-config.yaml asks for what cannot be.
        """
        properties = context.system_properties
        self.folder = Path(properties["model_dir"])
        for package in (model, handler):
            code = Path(package.__file__ or "").resolve()
            if not code.is_relative_to(self.folder.resolve()):
                raise RuntimeError(
                    f"the worker of {self.folder} has imported {code}, not its archive's code"
                )
        config = context.model_yaml_config or {}
        settings = config.get("handler", {})
        Image.core.set_block_size(PILLOW_BLOCK_SIZE)  # type: ignore[attr-defined]
        torch.set_num_threads(_threads(config, torch.get_num_threads()))
        self.options = RequestOptions().changed(settings.get("decoding", {}))
        device = _device(settings, properties.get("gpu_id"))
        self.captioner = Captioner.load(self.folder, device, settings.get("precision", "auto"))
        self.captioner.warm_up(self.options.decoding)
        named = context.manifest["model"]
        self.model = {
            "name": named["modelName"],
            "version": named["modelVersion"],
            "digest": checkpoint.digest(self.folder),
        }
        self.metrics = Metrics(context.metrics, self.model["name"], self.model["version"])
        self.shadow = Shadow.of_environment(self.model["version"], self.options)
        logger.info("captioner ready: %s, %s", self.model, self.options)

    def handle(self, data: list[dict[str, Any]], context: Any) -> list[str | bytes]:
        """A reply for every request, in order; see the README's section on the API."""
        started = time.perf_counter()
        headers = [_headers(context, i) for i in range(len(data))]
        requests = [self._parsed(*each) for each in zip(data, headers, strict=True)]
        good = [request for request in requests if isinstance(request, Request)]
        photos = [photo for request in good for photo in request.photos]
        options = [each for request in good for each in request.options]
        seconds = Seconds()
        found = self._captioned(photos, options, seconds)
        total = time.perf_counter() - started
        timing = replies.timing(seconds, total)

        each = iter(found)
        answers: list[str | bytes] = []
        outcomes: list[str] = []
        answered: list[Answered] = []
        for i, request in enumerate(requests):
            answer: str | bytes
            outcome, kind = "ok", JSON
            try:
                if isinstance(request, RequestError):
                    raise request
                if isinstance(request, Request):
                    captions = [next(each) for _ in request.photos]
                    request_id = context.get_request_id(i)
                    answer, kind = self._answer(request, captions, timing, headers[i], request_id)
                    answered += _answered(request, captions)
                else:
                    answer, outcome = request, "description"
            except RequestError as error:
                outcome, phrase = error.code, HTTPStatus(error.status).phrase
                context.set_response_status(error.status, phrase, i)
                answer = replies.error_body(error, context.get_request_id(i))
            context.set_response_content_type(i, kind)
            answers.append(answer)
            outcomes.append(outcome)
        self._report(outcomes, options, found, seconds, total)
        self.shadow.offer(answered, total, len(photos))
        return answers

    def _parsed(
        self, fields: Mapping[str, Any], headers: Mapping[str, str]
    ) -> Request | RequestError | str:
        """Of one request; a text is what the management API asked for, the description."""
        if headers.get("describe") == "True":
            return describe(self.captioner, self.options, self.model, self.folder)
        try:
            request = parse(fields, headers, self.options)
            if headers.get("explain") == "True":
                explained = {"return_tokens": True, "return_attention": True}
                options = [dataclasses.replace(o, **explained) for o in request.options]
                request = dataclasses.replace(request, options=options)
            return request
        except RequestError as error:
            return error

    def _captioned(
        self, photos: list[bytes], options: list[RequestOptions], seconds: Seconds
    ) -> list[list[Caption] | InvalidImage]:
        try:
            return self.captioner.caption_each(photos, [o.decoding for o in options], seconds)
        except RuntimeError as error:
            if _is_fatal(error):
                # Nothing computes on that GPU in this process any more; TorchServe starts another.
                logger.critical("the GPU has failed, ending this worker", exc_info=True)
                logging.shutdown()
                os._exit(1)
            raise

    def _answer(
        self,
        request: Request,
        found: list[list[Caption] | InvalidImage],
        timing: dict[str, float],
        headers: Mapping[str, str],
        request_id: str,
    ) -> tuple[str | bytes, str]:
        """The reply of one request and its media type."""
        about = {"model": self.model, "request_id": request_id}
        several = request.form is not Form.PLAIN
        told = []
        for place, captions in enumerate(found):
            if isinstance(captions, InvalidImage):
                raise _refused(captions, f"image {place}: " if several else "")
            if _wants_picture(headers):
                return attention_picture(request.photos[0], captions[0]), PNG
            asked = request.options[place]
            info = image.describe(request.photos[place]) if asked.return_image else None
            told.append(replies.reply(captions, asked, about, info, timing))
        return replies.body(request, told, self.model), JSON

    def _report(
        self,
        outcomes: list[str],
        options: list[RequestOptions],
        found: list[list[Caption] | InvalidImage],
        seconds: Seconds,
        total: float,
    ) -> None:
        self.metrics.count_requests(outcomes)
        words = [len(captions[0].words) for captions in found if isinstance(captions, list)]
        self.metrics.observe("captioner_caption_words", words)
        if options:
            self.metrics.observe("captioner_batch_photos", [len(options)])
            self.metrics.observe("captioner_batch_seconds", [total])
            for part, taken in dataclasses.asdict(seconds).items():
                self.metrics.observe(f"captioner_{part}_seconds", [taken])
            self.metrics.observe("captioner_beams", [o.beam_size for o in options])


JSON, PNG = "application/json", "image/png"


def _headers(context: Any, i: int) -> dict[str, str]:
    """Of request i, names in lower case; TorchServe's entries for fields are left out."""
    headers = context.get_all_request_header(i)
    return {name.lower(): value for name, value in headers.items() if isinstance(value, str)}


def _answered(request: Request, found: list[list[Caption] | InvalidImage]) -> Iterator[Answered]:
    for photo, options, captions in zip(request.photos, request.options, found, strict=True):
        if isinstance(captions, list):  # of several photos, a picture is of the first alone
            yield Answered(photo, options, captions[0].text)


def _wants_picture(headers: Mapping[str, str]) -> bool:
    return headers.get("explain") == "True" and PNG in headers.get("accept", "").lower()


def _refused(error: InvalidImage, where: str) -> RequestError:
    refuse = RequestError.media_type if isinstance(error, UnsupportedFormat) else RequestError.image
    return refuse(f"{where}{error}")


def _is_fatal(error: RuntimeError) -> bool:
    """Whether it leaves a GPU that this process cannot use again; too little memory does not."""
    if isinstance(error, torch.OutOfMemoryError):
        return False
    return isinstance(error, torch.AcceleratorError) or "CUDA error" in str(error)


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
