"""OpenAI's API: /v1/chat/completions, and its list of models.

https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

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
)
from handler.errors import RequestError, quoted
from handler.replies import Reply

EVENTS = "text/event-stream"
HOW = (
    'send it as {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,..."}} in the'
    " content of a message"
)
# The codes that clients of OpenAI know, by the statuses that they stand for.
CODES = {401: "invalid_api_key", 404: "model_not_found"}


def read(body: dict[str, Any]) -> Query:
    """Read a request to /v1/chat/completions: the images of the messages after the last reply.

    Text and the options of a language model are ignored.

    Raises
    ------
    RequestError
        Those messages have no photo or the address of one, or it asks for JSON or several choices.
    """
    model = model_field(body)
    _check_format(body)
    photos = [
        photo
        for message in since_last_reply(list_field(body, "messages"))
        for photo in _photos(message)
    ]
    checked_photos(photos, HOW)
    if body.get("stream"):
        options = body.get("stream_options")
        usage = isinstance(options, dict) and bool(options.get("include_usage"))
        return Query(model, photos, lambda captioned: _events(captioned, model, usage))
    return Query(model, photos, lambda captioned: json_reply(_completion(captioned, model)))


def failure(of: Failure) -> dict[str, Any]:
    """Return an error as OpenAI's clients read it."""
    kind = "invalid_request_error" if of.status < 500 else "server_error"
    code = CODES.get(of.status, of.code)
    return {"error": {"message": of.message, "type": kind, "param": None, "code": code}}


def models(served: Mapping[str, Pool]) -> dict[str, Any]:
    """Return the list of models.

    Parameters
    ----------
    served
        The versions by the names that ask for them.
    """
    return {"object": "list", "data": [model(name, pool) for name, pool in served.items()]}


def model(name: str, pool: Pool) -> dict[str, Any]:
    created = int(pool.served.modified.timestamp())
    return {"id": name, "object": "model", "created": created, "owned_by": MODEL}


def _check_format(body: dict[str, Any]) -> None:
    format = body.get("response_format")
    if format is not None and format != {"type": "text"}:
        refuse_format(format, "response_format")
    if (choices := body.get("n")) not in (None, 1):
        raise RequestError("invalid_request", f"n is {quoted(choices)}; it must be 1")


def _photos(message: dict[str, Any]) -> Iterator[str]:
    """Yield the photos of a message, whose content is a text or a list of parts."""
    if isinstance(message.get("content"), str):
        return
    for part in list_field(message, "content"):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "image_url":
            image = part.get("image_url")
            yield base64_of(image.get("url") if isinstance(image, dict) else image, "image_url")
        elif kind != "text":
            raise RequestError(
                "invalid_request",
                f"a part of the content has the type {quoted(kind)}; there are text and image_url",
            )


def _completion(captioned: Captioned, model: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": captioned.text, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    head = _head(captioned, model, "chat.completion")
    return {**head, "choices": [choice], "usage": _usage(captioned)}


def _events(captioned: Captioned, model: str, with_usage: bool) -> Reply:
    """Return the captions in one server-sent event, and the events that end a stream."""
    head = _head(captioned, model, "chat.completion.chunk")
    text = {"role": "assistant", "content": captioned.text}
    choices: list[list[dict[str, Any]]] = [
        [{"index": 0, "delta": text, "logprobs": None, "finish_reason": None}],
        [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}],
    ]
    chunks = [{**head, "choices": each} for each in choices]
    if with_usage:
        chunks.append({**head, "choices": [], "usage": _usage(captioned)})
    data = [*map(json.dumps, chunks), "[DONE]"]
    return Reply("".join(f"data: {each}\n\n" for each in data), EVENTS)


def _head(captioned: Captioned, model: str, kind: str) -> dict[str, Any]:
    id = f"chatcmpl-{captioned.request_id}"
    return {"id": id, "object": kind, "created": int(time.time()), "model": model}


def _usage(captioned: Captioned) -> dict[str, Any]:
    """Return the counts of tokens: the words of the captions, and none of the prompt."""
    words = captioned.words
    return {"prompt_tokens": 0, "completion_tokens": words, "total_tokens": words}
