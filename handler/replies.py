"""Captions -> what is answered, as plain JSON values."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from handler.errors import RequestError
from handler.options import RequestOptions
from handler.parsing import Form, Request
from model import Caption
from model.captioner import Timings
from model.image import ImageInfo

JSON, PNG = "application/json", "image/png"
EXPLAINING = ("tokens", "attention")  # parts of a reply


class Reply(NamedTuple):
    """The answer to one request."""

    body: str | bytes
    media_type: str = JSON
    status: int = 200
    outcome: str = "ok"  # or ``description``, or the code of an error


def reply(
    captions: Sequence[Caption],
    options: RequestOptions,
    about: dict[str, Any],
    info: ImageInfo | None,
    timing: dict[str, float],
) -> dict[str, Any]:
    """Of one photo.

    Parameters
    ----------
    captions
        Best first.
    about
        ``model`` and ``request_id``, which every reply has.
    """
    best, *others = captions
    told = _told(best) | about
    if options.num_captions > 1:
        told["alternatives"] = [_told(caption) for caption in others]
    if options.return_tokens:
        told["tokens"] = tokens(best)
    if options.return_attention:
        told["attention"] = attention(best)
    if options.return_timing:
        told["timing_ms"] = timing
    if info is not None:
        told["image"] = info._asdict()
    return told


def body(request: Request, replies: Sequence[dict[str, Any]], model: dict[str, str]) -> str:
    """Of a whole request, in the form its sender understands."""
    if request.form is Form.PLAIN:
        return text(replies[0])
    if request.form is Form.KSERVE_V1:
        return text(_kserve_v1(request, replies))
    outputs = [
        _tensor("caption", "BYTES", [told["caption"] for told in replies]),
        _tensor("log_prob", "FP32", [told["log_prob"] for told in replies]),
    ]
    if all(told["confidence"] is not None for told in replies):
        outputs.append(_tensor("confidence", "FP32", [told["confidence"] for told in replies]))
    outputs.append(_tensor("reply", "BYTES", [json.dumps(told) for told in replies]))
    identity = {"model_name": model["name"], "model_version": model["version"]}
    return text({"id": request.id or replies[0]["request_id"]} | identity | {"outputs": outputs})


def _kserve_v1(request: Request, replies: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return predictions, and beside them, if the request is to be explained, explanations."""
    if not request.explain:
        return {"predictions": list(replies)}
    return {
        "predictions": [{k: v for k, v in each.items() if k not in EXPLAINING} for each in replies],
        "explanations": [{name: each[name] for name in EXPLAINING} for each in replies],
    }


def text(value: dict[str, Any]) -> str:
    """Return JSON with a newline at its end, for whoever reads it in a terminal."""
    return json.dumps(value) + "\n"


def refusal(error: RequestError, request_id: str) -> Reply:
    """Return the reply to a request that is refused."""
    told = {"code": error.code, "message": str(error)}
    body = text({"error": told, "request_id": request_id})
    return Reply(body, status=error.status, outcome=error.code)


def tokens(caption: Caption) -> list[dict[str, Any]]:
    """The words and the end with their log-probabilities; their sum is the caption's."""
    told: list[dict[str, Any]] = [
        {"word": word, "log_prob": log_prob}
        for word, log_prob in zip(caption.words, caption.word_log_probs, strict=True)
    ]
    return [*told, {"word": "<end>", "log_prob": caption.log_prob - sum(caption.word_log_probs)}]


def attention(caption: Caption) -> dict[str, Any]:
    """A map for every word, row by row; its weights sum to 1."""
    maps = caption.attention.tolist()
    return {
        "grid": list(caption.attention.shape[1:]),
        "maps": [
            {"word": word, "weights": weights}
            for word, weights in zip(caption.words, maps, strict=True)
        ],
    }


def timing(timings: Timings, total: float) -> dict[str, float]:
    """Milliseconds, of the batch that a request was answered in."""
    parts = asdict(timings) | {"total": total}
    return {name: round(1e3 * taken, 3) for name, taken in parts.items()}


def _told(caption: Caption) -> dict[str, Any]:
    return {
        "caption": caption.text,
        "confidence": caption.confidence,
        "log_prob": caption.log_prob,
    }


def _tensor(name: str, datatype: str, data: list[Any]) -> dict[str, Any]:
    return {"name": name, "shape": [len(data)], "datatype": datatype, "data": data}
