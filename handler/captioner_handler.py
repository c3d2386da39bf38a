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
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from itertools import islice
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
from handler import budget, replies  # noqa: E402
from handler.description import describe  # noqa: E402
from handler.errors import RETRY_AFTER, RequestError  # noqa: E402
from handler.metrics import Metrics  # noqa: E402
from handler.options import RequestOptions  # noqa: E402
from handler.parsing import Form, Request, parse  # noqa: E402
from handler.replies import PNG, Reply  # noqa: E402
from handler.request_log import answered, failed, log_answers  # noqa: E402
from handler.routes import Route, route  # noqa: E402
from handler.shadow import AnsweredPhoto, Shadow  # noqa: E402
from handler.workers import Workers  # noqa: E402
from model import Caption, Captioner, InvalidImage, checkpoint, image  # noqa: E402
from model.attention_picture import attention_picture  # noqa: E402
from model.captioner import Timings  # noqa: E402
from model.image import UnsupportedFormat  # noqa: E402
from model.process import set_up_process  # noqa: E402

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
    time_limit: float = 30  # seconds of a batch, after which no photo of it is begun
    workers: Workers | None = None  # that share the cores; None if the threads are configured
    cores: int  # that the process may use

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
        set_up_process()
        Image.core.set_block_size(PILLOW_BLOCK_SIZE)  # type: ignore[attr-defined]
        self.cores = torch.get_num_threads()
        if threads := settings.get("threads", 0):
            torch.set_num_threads(threads)
        else:
            self.workers = Workers(self.folder)
            self._share_cores()
        self.options = RequestOptions().changed(settings.get("decoding", {}))
        device = _device(settings, properties.get("gpu_id"))
        self.captioner = Captioner.load(self.folder, device, settings.get("precision", "auto"))
        self.captioner.warm_up(self.options.decoding)
        self.model = {
            "name": context.model_name,  # as it was registered; the archive may be called otherwise
            "version": context.manifest["model"]["modelVersion"],
            "digest": checkpoint.digest(self.folder),
        }
        self.metrics = Metrics(context.metrics, self.model["name"], self.model["version"])
        self.shadow = Shadow.from_environment(self.model["version"], self.options)
        self.time_limit = budget.SHARE_OF_TIMEOUT * config.get("responseTimeout", 60)
        logger.info("captioner ready: %s, %s", self.model, self.options)

    def handle(self, data: list[dict[str, Any]], context: Any) -> list[str | bytes]:
        """Answer every request, in order; see the README's section on the API."""
        started = time.perf_counter()
        self._share_cores()
        places = range(len(data))
        requests = [self._parsed(data[i], context.get_all_request_header(i)) for i in places]
        ids = [context.get_request_id(i) for i in places]
        captionable = {i: each for i, each in enumerate(requests) if isinstance(each, Request)}
        order = budget.admitted(captionable, torch.get_num_threads())
        chosen = [captionable[i] for i in order]
        timings = Timings()
        try:
            found = self._captioned(chosen, timings, started + self.time_limit)
        except Exception as error:  # TorchServe answers the whole batch
            log_answers([failed(each, error) for each in ids], self.model)
            raise
        captions = dict(zip(order, found, strict=False))  # the last are missing if time ran out
        total = time.perf_counter() - started
        timing = replies.timing(timings, total)
        sent = [self._reply(requests[i], captions.get(i), timing, ids[i]) for i in places]
        for i, reply in enumerate(sent):
            _set_head(context, i, reply)
        self._report(chosen, found, sent, timings, total)
        photos = sum(map(len, found))
        log_answers(map(answered, ids, requests, sent), self.model, photos, timing)
        good = [i for i in captions if sent[i].outcome == "ok"]
        copies = [copy for i in good for copy in _copies(captionable[i], captions[i])]
        self.shadow.offer(copies, total, photos)
        return [reply.body for reply in sent]

    def _share_cores(self) -> None:
        """Take this worker's part of them: if all took all they would wait for one another.

        Their number may be another at every batch, as the operator scales the version.
        """
        if self.workers is None:
            return
        threads = max(1, self.cores // self.workers.count())
        if threads != torch.get_num_threads():
            torch.set_num_threads(threads)

    def _parsed(
        self, fields: Mapping[str, Any], headers: Mapping[str, Any]
    ) -> Request | RequestError | str:
        """Read one request; a text is the description, which the management API has asked for."""
        asked = route(fields, headers)
        if asked is Route.DESCRIBE:
            return describe(self.captioner, self.options, self.model, self.folder)
        try:
            request = parse(fields, headers, self.options)
            if asked is Route.EXPLAIN:
                explained = {"return_tokens": True, "return_attention": True}
                options = [dataclasses.replace(o, **explained) for o in request.options]
                picture = request.form is Form.PLAIN and _accepts_picture(headers)
                request = dataclasses.replace(
                    request, options=options, explain=True, picture=picture
                )
            return budget.measured(request)
        except RequestError as error:
            return error

    def _captioned(
        self, requests: Sequence[Request], timings: Timings, deadline: float
    ) -> list[list[list[Caption] | InvalidImage]]:
        """Return the captions of each photo of each request, for as many as are done in time."""
        photos = [photo for request in requests for photo in request.photos]
        options = [each.decoding for request in requests for each in request.options]
        try:
            found = iter(self.captioner.caption_each(photos, options, timings, deadline))
        except RuntimeError as error:
            if _is_fatal(error):
                # Nothing computes on that GPU in this process any more; TorchServe starts another.
                logger.critical("the GPU has failed, ending this worker", exc_info=True)
                logging.shutdown()
                os._exit(1)
            raise
        each = [list(islice(found, len(request.photos))) for request in requests]
        return [
            c for c, request in zip(each, requests, strict=True) if len(c) == len(request.photos)
        ]

    def _reply(
        self,
        request: Request | RequestError | str,
        captions: list[list[Caption] | InvalidImage] | None,
        timing: dict[str, float],
        request_id: str,
    ) -> Reply:
        try:
            if isinstance(request, RequestError):
                raise request
            if isinstance(request, str):
                return Reply(f"{request}\n", outcome="description")
            if captions is None:
                raise RequestError.busy(
                    "the server has more photos to caption than it can in good time;"
                    f" try again in {RETRY_AFTER} s"
                )
            return self._answer(request, captions, timing, request_id)
        except RequestError as error:
            return replies.refusal(error, request_id)

    def _answer(
        self,
        request: Request,
        found: list[list[Caption] | InvalidImage],
        timing: dict[str, float],
        request_id: str,
    ) -> Reply:
        about = {"model": self.model, "request_id": request_id}
        several = request.form is not Form.PLAIN
        told = []
        for place, captions in enumerate(found):
            if isinstance(captions, InvalidImage):
                raise _refused(captions, f"image {place}: " if several else "")
            if request.picture:
                return Reply(attention_picture(request.photos[0], captions[0]), PNG)
            asked = request.options[place]
            info = image.describe(request.photos[place]) if asked.return_image else None
            told.append(replies.reply(captions, asked, about, info, timing))
        return Reply(replies.body(request, told, self.model))

    def _report(
        self,
        requests: Sequence[Request],
        found: list[list[list[Caption] | InvalidImage]],
        sent: Sequence[Reply],
        timings: Timings,
        total: float,
    ) -> None:
        """Count a batch: what was captioned, in time, and what was answered."""
        self.metrics.count("captioner_requests_total", (reply.outcome for reply in sent))
        if found:
            photos = [captions for each in found for captions in each]
            words = [len(captions[0].words) for captions in photos if isinstance(captions, list)]
            self.metrics.count("captioner_captions_total", map(str, words))
            self.metrics.add("captioner_words_total", sum(words))
            self.metrics.add("captioner_photos_total", len(photos))
            self.metrics.add("captioner_batches_total", 1)
            self.metrics.observe("captioner_batch_seconds", [total])
            for part, taken in dataclasses.asdict(timings).items():
                self.metrics.observe(f"captioner_{part}_seconds", [taken])
            options = [each for request in requests[: len(found)] for each in request.options]
            self.metrics.observe("captioner_beams", [o.beam_size for o in options])


def _set_head(context: Any, i: int, reply: Reply) -> None:
    """Give TorchServe the status and headers of a reply."""
    if reply.status != HTTPStatus.OK:
        context.set_response_status(reply.status, HTTPStatus(reply.status).phrase, i)
    if reply.status == HTTPStatus.SERVICE_UNAVAILABLE:
        context.set_response_header(i, "Retry-After", str(RETRY_AFTER))
    context.set_response_content_type(i, reply.media_type)


def _copies(request: Request, found: list[list[Caption] | InvalidImage]) -> Iterator[AnsweredPhoto]:
    for photo, options, captions in zip(request.photos, request.options, found, strict=True):
        if isinstance(captions, list):
            yield AnsweredPhoto(photo, options, captions[0].text)


def _accepts_picture(headers: Mapping[str, Any]) -> bool:
    return any(name.lower() == "accept" and PNG in str(headers[name]).lower() for name in headers)


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
