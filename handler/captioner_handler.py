"""TorchServe adapter: hands batches of requests to `CaptionService` and its replies to TorchServe.

TorchServe imports this file by its name from the unpacked archive, expects exactly one class in it,
and calls ``initialize`` once and ``handle`` with every batch.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

# A worker must run the code of its own archive. A checkout on PYTHONPATH would come first, and a
# second version of the model would then silently run the code of the first.
ARCHIVE = Path(__file__).resolve().parent
if (ARCHIVE / "MAR-INF").is_dir():
    sys.path.insert(0, str(ARCHIVE))

import torch  # noqa: E402

import handler  # noqa: E402
import model  # noqa: E402
from handler import budget  # noqa: E402
from handler.metrics import Metrics  # noqa: E402
from handler.options import RequestOptions  # noqa: E402
from handler.process import end_worker, is_fatal, set_up_worker  # noqa: E402
from handler.replies import Reply  # noqa: E402
from handler.request_log import log_batch, log_failed_batch  # noqa: E402
from handler.routes import torchserve_route  # noqa: E402
from handler.service import AnsweredBatch, CaptionService, IncomingRequest  # noqa: E402
from handler.shadow import AnsweredPhoto, Shadow  # noqa: E402
from handler.workers import Workers  # noqa: E402
from model import Captioner, checkpoint  # noqa: E402

logger = logging.getLogger(__name__)


class CaptionerHandler:
    """Answers the batches of one TorchServe worker."""

    service: CaptionService
    metrics: Metrics
    shadow: Shadow
    workers: Workers | None = None  # they share the cores; None if the threads are configured
    cores: int  # that the process may use

    def initialize(self, context: Any) -> None:
        """Load the archive's checkpoint, and caption once so that the first request is not slow.

        Raises
        ------
        ValueError
            The checkpoint is damaged, or model-config.yaml has a setting that cannot be met.
        RuntimeError
            The worker has imported other code than its archive's.
        """
        properties = context.system_properties
        folder = Path(properties["model_dir"])
        _check_code(folder)
        set_up_worker()
        config = context.model_yaml_config or {}
        settings = config.get("handler", {})
        self.cores = torch.get_num_threads()
        if threads := settings.get("threads", 0):
            torch.set_num_threads(threads)
        else:
            self.workers = Workers(folder)
            self._share_cores()
        defaults = RequestOptions().changed(settings.get("decoding", {}))
        device = _device(settings, properties.get("gpu_id"))
        captioner = Captioner.load(folder, device, settings.get("precision", "auto"))
        captioner.warm_up(defaults.decoding)
        version = context.manifest["model"]["modelVersion"]
        about = {
            "name": context.model_name,  # as it is registered; the archive may have another name
            "version": version,
            "digest": checkpoint.digest(folder),
        }
        time_limit = budget.TIMEOUT_SHARE * config.get("responseTimeout", 60)
        self.service = CaptionService(captioner, defaults, about, folder, time_limit)
        self.metrics = Metrics(context.metrics, context.model_name, version)
        self.shadow = Shadow.from_environment(version, defaults)
        logger.info("captioner ready: %s, %s", about, defaults)

    def handle(self, data: list[dict[str, Any]], context: Any) -> list[str | bytes]:
        """Answer every request of a batch, in order; handler/openapi.yaml describes the replies.

        Parameters
        ----------
        data
            The fields of each request; see `handler.parsing.parse`.
        """
        self._share_cores()
        requests = [_incoming(context, i, fields) for i, fields in enumerate(data)]
        try:
            batch = self.service.answer(requests)
        except Exception as error:  # TorchServe answers all requests of the batch with an error
            if is_fatal(error):
                end_worker()
            log_failed_batch([each.id for each in requests], error, self.service.model)
            raise
        for i, each in enumerate(batch.requests):
            _set_status_and_headers(context, i, each.reply)
        self.metrics.report(batch)
        log_batch(batch, self.service.model)
        photos = sum(1 for _ in batch.photos())
        self.shadow.offer(_answered_photos(batch), batch.seconds, photos)
        return [each.reply.body for each in batch.requests]

    def _share_cores(self) -> None:
        """Take an equal share of the cores: workers that each used all would delay one another.

        The share may change at every batch, as the operator scales the version.
        """
        if self.workers is None:
            return
        threads = max(1, self.cores // self.workers.count())
        if threads != torch.get_num_threads():
            torch.set_num_threads(threads)


def _check_code(folder: Path) -> None:
    """Raise `RuntimeError` unless the packages in use are those of the archive in a folder."""
    for package in (model, handler):
        code = Path(package.__file__ or "").resolve()
        if not code.is_relative_to(folder.resolve()):
            raise RuntimeError(
                f"the worker of {folder} has imported {code}, not its archive's code"
            )


def _device(settings: dict[str, Any], gpu: int | None) -> str:
    """Return the device that TorchServe gave the worker, by the ``deviceType`` of the settings.

    Raises
    ------
    ValueError
        It gave no GPU, but the settings require one.
    """
    if gpu is not None and gpu >= 0 and torch.cuda.is_available():
        return f"cuda:{gpu}"
    if settings.get("require_gpu"):
        raise ValueError("model-config.yaml says require_gpu, but the worker was given no GPU")
    return "cpu"


def _incoming(context: Any, i: int, fields: dict[str, Any]) -> IncomingRequest:
    """Return a request of TorchServe's as the service takes it."""
    headers = context.get_all_request_header(i)
    route = torchserve_route(fields, headers)
    return IncomingRequest(context.get_request_id(i), route, fields, headers)


def _set_status_and_headers(context: Any, i: int, reply: Reply) -> None:
    if reply.status != HTTPStatus.OK:
        context.set_response_status(reply.status, HTTPStatus(reply.status).phrase, i)
    for name, value in reply.headers.items():
        context.set_response_header(i, name, value)
    context.set_response_content_type(i, reply.media_type)


def _answered_photos(batch: AnsweredBatch) -> Iterator[AnsweredPhoto]:
    """Yield every photo of the requests that were answered without an error."""
    for each in batch.requests:
        if each.request and each.captions and each.reply.outcome == "ok":
            for photo, options, captions in zip(
                each.request.photos, each.request.options, each.captions, strict=True
            ):
                if isinstance(captions, list):
                    yield AnsweredPhoto(photo, options, captions[0].text)
