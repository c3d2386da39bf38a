"""Captions of photos -> the bodies of replies, as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

from handler.caption_request import CaptionRequest, WireFormat
from handler.errors import RETRY_AFTER, RequestError
from handler.options import RequestOptions

if TYPE_CHECKING:  # a process that only passes replies on needs no torch
    from model import Caption
    from model.captioner import Timings
    from model.image import ImageInfo

JSON, PNG = "application/json", "image/png"
EXPLANATION = ("tokens", "attention")  # the keys of a reply that explain a caption


class Reply(NamedTuple):
    """The reply to one request, whichever server sends it."""

    body: str | bytes
    media_type: str = JSON
    status: int = HTTPStatus.OK
    outcome: str = "ok"  # or ``description``, or the code of an error; for metrics and the log

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the reply besides its type."""
        if self.status == HTTPStatus.SERVICE_UNAVAILABLE:
            return {"Retry-After": str(RETRY_AFTER)}
        return {}


def refusal(error: RequestError, request_id: str) -> Reply:
    """Return the reply to a request that is refused."""
    content = {"code": error.code, "message": str(error)}
    body = to_json({"error": content, "request_id": request_id})
    return Reply(body, status=error.status, outcome=error.code)


def photo_reply(
    captions: Sequence[Caption],
    options: RequestOptions,
    about: Mapping[str, Any],
    info: ImageInfo | None,
    timing: Mapping[str, float],
) -> dict[str, Any]:
    """Return the JSON object that answers for one photo.

    Parameters
    ----------
    captions
        The captions of the photo, best first.
    options
        The options of the photo, which say what the reply holds.
    about
        ``model`` and ``request_id``, which every reply has.
    info
        Size and format of the photo; None if they were not asked for.
    timing
        See `timing_ms`.
    """
    best, *others = captions
    reply = {**_summary(best), **about}
    if options.num_captions > 1:
        reply["alternatives"] = [_summary(caption) for caption in others]
    if options.return_tokens:
        reply["tokens"] = tokens(best)
    if options.return_attention:
        reply["attention"] = attention(best)
    if options.return_timing:
        reply["timing_ms"] = timing
    if info is not None:
        reply["image"] = info._asdict()
    return reply


def body(
    request: CaptionRequest, replies: Sequence[dict[str, Any]], model: Mapping[str, str]
) -> str:
    """Return the body of a reply in the request's own format.

    Parameters
    ----------
    replies
        The `photo_reply` of each photo of the request.
    model
        ``name`` and ``version``.
    """
    if request.format is WireFormat.PLAIN:
        return to_json(replies[0])
    if request.format is WireFormat.KSERVE_V1:
        return to_json(_kserve_v1(request, replies))
    return to_json(_kserve_v2(request, replies, model))


def _kserve_v1(request: CaptionRequest, replies: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return predictions and, if the request asks for explanations, explanations beside them."""
    if not request.explain:
        return {"predictions": list(replies)}
    return {
        "predictions": [
            {name: value for name, value in reply.items() if name not in EXPLANATION}
            for reply in replies
        ],
        "explanations": [{name: reply[name] for name in EXPLANATION} for reply in replies],
    }


def _kserve_v2(
    request: CaptionRequest, replies: Sequence[dict[str, Any]], model: Mapping[str, str]
) -> dict[str, Any]:
    """Return a tensor for each of the main values, and one of whole replies as JSON texts."""
    outputs = [
        _tensor("caption", "BYTES", [reply["caption"] for reply in replies]),
        _tensor("log_prob", "FP32", [reply["log_prob"] for reply in replies]),
    ]
    confidences = [reply["confidence"] for reply in replies]
    if None not in confidences:
        outputs.append(_tensor("confidence", "FP32", confidences))
    outputs.append(_tensor("reply", "BYTES", [json.dumps(reply) for reply in replies]))
    return {
        "id": request.id or replies[0]["request_id"],
        "model_name": model["name"],
        "model_version": model["version"],
        "outputs": outputs,
    }


def _tensor(name: str, datatype: str, data: list[Any]) -> dict[str, Any]:
    return {"name": name, "shape": [len(data)], "datatype": datatype, "data": data}


def _summary(caption: Caption) -> dict[str, Any]:
    return {
        "caption": caption.text,
        "confidence": caption.confidence,
        "log_prob": caption.log_prob,
    }


def tokens(caption: Caption) -> list[dict[str, Any]]:
    """Return the words and the end with their log-probabilities, which sum to the caption's."""
    words = [
        {"word": word, "log_prob": log_prob}
        for word, log_prob in zip(caption.words, caption.word_log_probs, strict=True)
    ]
    return [*words, {"word": "<end>", "log_prob": caption.log_prob - sum(caption.word_log_probs)}]


def attention(caption: Caption) -> dict[str, Any]:
    """Return the grid's shape and a map for each word: rows from the top, which sum to 1."""
    maps = caption.attention.tolist()
    return {
        "grid": list(caption.attention.shape[1:]),
        "maps": [
            {"word": word, "weights": weights}
            for word, weights in zip(caption.words, maps, strict=True)
        ],
    }


def timing_ms(timings: Timings, total: float) -> dict[str, float]:
    """Return the milliseconds of each part of a batch and of the whole, given in seconds."""
    parts = asdict(timings) | {"total": total}
    return {name: round(1e3 * taken, 3) for name, taken in parts.items()}


def to_json(value: Mapping[str, Any]) -> str:
    """Return JSON with a newline at its end, which keeps a terminal's prompt on its own line."""
    return json.dumps(value) + "\n"
