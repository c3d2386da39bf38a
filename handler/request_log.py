"""One line of the log for each request, for programs: its answer, who gave it, and how fast."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from handler.errors import RequestError
from handler.parsing import Request
from handler.replies import Reply

# What a line begins with, the server's log configuration sorts by.
START = "request "

logger = logging.getLogger("captioner.requests")


class Answer(NamedTuple):
    """The outcome of one request."""

    request_id: str
    status: int
    outcome: str  # ``ok``, ``description``, ``failed`` or the code of an error
    photos: int = 0


def answered(request_id: str, request: Request | RequestError | str, reply: Reply) -> Answer:
    """Return what the log says of a request that the handler has answered."""
    photos = len(request.photos) if isinstance(request, Request) else 0
    return Answer(request_id, reply.status, reply.outcome, photos)


def failed(request_id: str, error: Exception) -> Answer:
    """Return what the log says of a request whose batch failed; its status is TorchServe's."""
    no_memory = isinstance(error, MemoryError) or "CUDA" in str(error)
    return Answer(request_id, 507 if no_memory else 503, "failed")


def log_answers(
    answers: Iterable[Answer],
    model: Mapping[str, str],
    photos: int = 0,
    timing: Mapping[str, float] | None = None,
) -> None:
    """Write a line for each request of a batch.

    Nothing that a caller has sent is in it: no photo, no option, no text.

    Parameters
    ----------
    model
        ``name`` and ``version``.
    photos
        How many were captioned together.
    timing
        Milliseconds that the parts of the batch took.
    """
    answers = list(answers)
    named = {"model": model["name"], "version": model["version"]}
    batch = {"requests": len(answers), "photos": photos, "ms": dict(timing or {})}
    for answer in answers:
        logger.info("%s%s", START, json.dumps(answer._asdict() | named | {"batch": batch}))
