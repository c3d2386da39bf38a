"""Ollama's API, as its api/types.go has it: /api/generate, /api/chat, and what lists models."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeAlias

from captioner.operations.store import MODEL
from captioner.web.pool import Pool
from captioner.web.protocols.queries import (
    Captioned,
    Failure,
    Query,
    base64_of,
    checked_photos,
    json_reply,
    list_field,
    model_field,
    refuse_format,
    since_last_reply,
    text_field,
)
from handler.errors import RequestError, quoted
from handler.replies import Reply

NDJSON = "application/x-ndjson"
HOW = 'send it as "images": ["..."], the file in base64'
FOREVER = "9999-12-31T23:59:59Z"  # when a model that stays loaded is unloaded
# Returns the part of a reply that holds a text, which the two addresses name differently.
Content: TypeAlias = Callable[[str], dict[str, Any]]
DETAILS = {
    "parent_model": "",
    "format": "safetensors",
    "family": MODEL,
    "families": [MODEL],
    "parameter_size": "",
    "quantization_level": "",
}


def read_generate(body: dict[str, Any]) -> Query:
    """Read a request to /api/generate: its images; the prompt and the options are ignored.

    Neither images nor a prompt asks to load the model, which is loaded.

    Raises
    ------
    RequestError
        It has a prompt and no photo, or asks for JSON.
    """
    photos = _photos(list_field(body, "images"), "images")
    only_load = not photos and not text_field(body, "prompt")
    return _query(body, photos, only_load, lambda text: {"response": text})


def read_chat(body: dict[str, Any]) -> Query:
    """Read a request to /api/chat: the images of the messages after the assistant's last one.

    No message at all asks to load the model.

    Raises
    ------
    RequestError
        Those messages have no photo, or it asks for JSON.
    """
    messages = list_field(body, "messages")
    photos = [
        photo
        for message in since_last_reply(messages)
        for photo in _photos(list_field(message, "images"), "images")
    ]
    return _query(
        body,
        photos,
        not messages,
        lambda text: {"message": {"role": "assistant", "content": text}},
    )


def failure(of: Failure) -> dict[str, Any]:
    return {"error": of.message}


def models(served: Mapping[str, Pool]) -> dict[str, Any]:
    """Return the reply to /api/tags.

    Parameters
    ----------
    served
        The versions by the names that ask for them.
    """
    return {"models": [_model(name, pool) for name, pool in served.items()]}


def loaded_models(served: Mapping[str, Pool]) -> dict[str, Any]:
    """Return the reply to /api/ps; all are loaded."""
    return {
        "models": [
            {**_model(name, pool), "expires_at": FOREVER, "size_vram": 0}
            for name, pool in served.items()
        ]
    }


def description(pool: Pool) -> dict[str, Any]:
    """Return the reply to /api/show."""
    return {
        "modelfile": "",
        "parameters": "",
        "template": "",
        "details": DETAILS,
        "model_info": {"general.architecture": MODEL, "general.basename": MODEL},
        "capabilities": ["completion", "vision"],
        "modified_at": _time(pool.served.modified),
    }


def _photos(images: list[Any], part: str) -> list[str]:
    return [base64_of(each, f"{part}[{i}]") for i, each in enumerate(images)]


def _query(body: dict[str, Any], photos: list[str], only_load: bool, content: Content) -> Query:
    model = model_field(body)
    if format := body.get("format"):
        refuse_format(format, "format")
    stream = body.get("stream", True)
    if not isinstance(stream, bool | None):
        raise RequestError(
            "invalid_request", f"stream is {quoted(stream)}; it must be true or false"
        )
    if only_load:
        return Query(model, [], lambda _: json_reply(_last(model, content(""), "load")))
    checked_photos(photos, HOW)
    streamed = stream is not False
    return Query(model, photos, lambda captioned: _reply(captioned, model, content, streamed))


def _reply(captioned: Captioned, model: str, content: Content, streamed: bool) -> Reply:
    """Return the captions as one object or, streamed, as two: the text, and the end."""
    end = {
        "total_duration": round(1e9 * captioned.seconds),
        "prompt_eval_count": 0,
        "eval_count": captioned.words,
    }
    if not streamed:
        return json_reply(_last(model, content(captioned.text), "stop") | end)
    parts = [
        {**_head(model), **content(captioned.text), "done": False},
        _last(model, content(""), "stop") | end,
    ]
    return Reply("".join(json.dumps(each) + "\n" for each in parts), NDJSON)


def _last(model: str, content: Mapping[str, Any], reason: str) -> dict[str, Any]:
    return {**_head(model), **content, "done": True, "done_reason": reason}


def _head(model: str) -> dict[str, Any]:
    return {"model": model, "created_at": _time(datetime.now(UTC))}


def _model(name: str, pool: Pool) -> dict[str, Any]:
    return {
        "name": name,
        "model": name,
        "modified_at": _time(pool.served.modified),
        "size": pool.served.size,
        "digest": pool.model.get("digest", ""),
        "details": DETAILS,
    }


def _time(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
