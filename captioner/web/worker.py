"""A worker process: loads a captioner and answers batches of requests until the server ends."""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import Sequence
from contextlib import suppress

import torch

from captioner.operations.store import MODEL
from captioner.web import messages
from captioner.web.forms import read_body
from captioner.web.messages import (
    BatchAnswered,
    BatchFailed,
    Question,
    Ready,
    StartFailed,
    WorkerTask,
)
from captioner.web.observations import Observations
from handler.budget import TIMEOUT_SHARE
from handler.errors import RequestError, failure_status
from handler.metrics import Metrics
from handler.options import RequestOptions
from handler.process import end_worker, is_fatal, set_up_worker
from handler.request_log import log_batch, log_failed_batch
from handler.service import CaptionService, IncomingRequest
from model import Captioner, checkpoint
from model.inference.devices import choose_device

logger = logging.getLogger("captioner")


def main(descriptor: int) -> None:
    """Load what the server asks for and answer its batches.

    Parameters
    ----------
    descriptor
        A socket that is connected with the server.
    """
    # The server is stopped by a signal, which a terminal sends to its workers as well. They end
    # when it closes the socket: by then it has its answers, or has ended itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logger.setLevel(logging.INFO)
    with (
        socket.socket(fileno=descriptor) as connection,
        connection.makefile("rb") as stream,
        suppress(EOFError, ConnectionError),  # the server has ended
    ):
        task: WorkerTask = messages.read(stream)
        try:
            worker = Worker(task)
        except (OSError, ValueError, RuntimeError) as error:
            connection.sendall(messages.to_bytes(StartFailed(str(error))))
            return
        connection.sendall(messages.to_bytes(Ready(dict(worker.service.model))))
        while True:
            batch = messages.read_batch(stream)
            connection.sendall(messages.to_bytes(worker.answer(batch)))


class Worker:
    """A captioner that is loaded, and the metrics of what it does."""

    def __init__(self, task: WorkerTask) -> None:
        set_up_worker()
        cores = task.settings.get("threads") or torch.get_num_threads() // task.workers
        torch.set_num_threads(max(1, cores))
        device = _device(task)
        if task.settings.get("require_gpu") and device.type == "cpu":
            raise ValueError("model-config.yaml says require_gpu, but there is no GPU")
        captioner = Captioner.load(task.folder, device, task.precision)
        defaults = RequestOptions().changed(task.settings.get("decoding", {}))
        captioner.warm_up(defaults.decoding)
        digest = checkpoint.digest(task.folder)
        model = {"name": MODEL, "version": task.version, "digest": digest}
        limit = TIMEOUT_SHARE * task.response_timeout
        self.service = CaptionService(captioner, defaults, model, task.folder, limit)
        self._observations = Observations()
        self._metrics = Metrics(self._observations, MODEL, task.version)

    def answer(self, batch: Sequence[Question]) -> BatchAnswered | BatchFailed:
        """Answer every request of a batch, in order, or say that all of them failed."""
        try:
            answered = self.service.answer([_incoming(each) for each in batch])
        except Exception as error:
            if is_fatal(error):
                end_worker()
            logger.exception("a batch of %d requests failed", len(batch))
            log_failed_batch([each.id for each in batch], error, self.service.model)
            return BatchFailed(failure_status(error))
        self._metrics.report(answered)
        log_batch(answered, self.service.model)
        replies = [each.reply for each in answered.requests]
        return BatchAnswered(replies, self._observations.take())


def _incoming(question: Question) -> IncomingRequest:
    try:
        fields, headers = read_body(question.body, question.headers)
    except RequestError as error:
        return IncomingRequest(question.id, question.route, error, question.headers)
    return IncomingRequest(question.id, question.route, fields, headers)


def _device(task: WorkerTask) -> torch.device:
    """Return the device of a worker; several GPUs are shared out among the workers."""
    device = choose_device(task.device)
    if device.type == "cuda" and ":" not in task.device:
        return torch.device("cuda", task.place % torch.cuda.device_count())
    return device
