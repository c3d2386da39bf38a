"""The request log: for each request a line for programs, with its outcome, version and times.

Nothing that a client has sent is logged: no photo, no option, no text.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from handler.errors import failure_status
from handler.service import AnsweredBatch

# The server's log configuration recognises the lines by this.
PREFIX = "request "

logger = logging.getLogger("captioner.requests")


def log_batch(batch: AnsweredBatch, model: Mapping[str, str]) -> None:
    """Log a line for each request of a batch.

    Parameters
    ----------
    model
        ``name`` and ``version``.
    """
    captioned = sum(1 for _ in batch.photos())
    together = _batch(len(batch.requests), captioned, batch.timing_ms)
    for each in batch.requests:
        photos = len(each.request.photos) if each.request else 0
        _log(each.id, each.reply.status, each.reply.outcome, photos, model, together)


def log_failed_batch(ids: Sequence[str], error: Exception, model: Mapping[str, str]) -> None:
    """Log a line for each request of a batch that failed as a whole.

    The status is the one with which the server answers them.
    """
    status = failure_status(error)
    for request_id in ids:
        _log(request_id, status, "failed", 0, model, _batch(len(ids), 0, {}))


def _batch(requests: int, photos: int, timing_ms: Mapping[str, float]) -> dict[str, Any]:
    return {"requests": requests, "photos": photos, "ms": dict(timing_ms)}


def _log(
    request_id: str,
    status: int,
    outcome: str,  # ``ok``, ``description``, ``failed`` or the code of an error
    photos: int,
    model: Mapping[str, str],
    batch: Mapping[str, Any],
) -> None:
    line = {
        "request_id": request_id,
        "status": status,
        "outcome": outcome,
        "photos": photos,
        "model": model["name"],
        "version": model["version"],
        "batch": batch,
    }
    logger.info("%s%s", PREFIX, json.dumps(line))
