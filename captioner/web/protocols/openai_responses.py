"""OpenAI's Responses API: /v1/responses, which PhotoPrism's engine ``openai`` asks for captions.

https://platform.openai.com/docs/api-reference/responses
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

from captioner.web.protocols.openai import EVENTS
from captioner.web.protocols.queries import (
    Captioned,
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

HOW = (
    'send it as {"type": "input_image", "image_url": "data:image/jpeg;base64,..."} in the content'
    " of a message of the input"
)
FORMAT = {"type": "text"}


def read(body: dict[str, Any]) -> Query:
    """Read a request to /v1/responses: the images of the messages after the last reply.

    Text and the options of a language model are ignored. No reply is stored, so that an earlier
    one cannot be referred to.

    Raises
    ------
    RequestError
        Those messages have no photo or the address of one, or it asks for JSON.
    """
    model = model_field(body)
    _check_format(body)
    asked = body.get("input")
    messages = [] if isinstance(asked, str) else list_field(body, "input")
    photos = [
        photo for message in since_last_reply(messages, "input") for photo in _photos(message)
    ]
    checked_photos(photos, HOW)
    if body.get("stream"):
        return Query(model, photos, lambda captioned: _events(captioned, model))
    return Query(model, photos, lambda captioned: json_reply(_response(captioned, model)))


def _check_format(body: dict[str, Any]) -> None:
    """Refuse a request for JSON, such as the one by which PhotoPrism asks for labels."""
    text = body.get("text") or {}
    if not isinstance(text, dict):
        raise RequestError("invalid_request", f"text is {quoted(text)}; it must be a JSON object")
    format = text.get("format")
    if format is not None and format != FORMAT:
        refuse_format(format, "text.format")


def _photos(message: dict[str, Any]) -> Iterator[str]:
    """Yield the photos of a message, whose content is a text or a list of parts."""
    if (kind := message.get("type", "message")) != "message":
        raise RequestError(
            "invalid_request", f"a part of the input has the type {quoted(kind)}; send messages"
        )
    if isinstance(message.get("content"), str):
        return
    for part in list_field(message, "content"):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "input_image":
            yield base64_of(part.get("image_url"), "image_url")
        elif kind != "input_text":
            raise RequestError(
                "invalid_request",
                f"a part of the content has the type {quoted(kind)};"
                " there are input_text and input_image",
            )


def _response(captioned: Captioned, model: str) -> dict[str, Any]:
    """Return the captions as a response: one message with one text."""
    now = int(time.time())
    return {
        "id": f"resp_{captioned.request_id}",
        "object": "response",
        "created_at": now,
        "completed_at": now,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": model,
        "output": [_message(captioned)],
        "parallel_tool_calls": False,
        "previous_response_id": None,
        "store": False,
        "temperature": None,
        "text": {"format": FORMAT},
        "tool_choice": "none",
        "tools": [],
        "top_p": None,
        "usage": _usage(captioned),
    }


def _message(captioned: Captioned) -> dict[str, Any]:
    part = {"type": "output_text", "text": captioned.text, "annotations": [], "logprobs": []}
    return {
        "id": f"msg_{captioned.request_id}",
        "type": "message",
        "status": "completed",
        "role": "assistant",
        "content": [part],
    }


def _events(captioned: Captioned, model: str) -> Reply:
    """Return the response as server-sent events, the captions in one of them.

    The order is that of OpenAI: each part is added, filled and done, from the outside in and back.
    """
    whole = _response(captioned, model)
    (message,) = whole["output"]
    (part,) = message["content"]
    begun = {**whole, "status": "in_progress", "completed_at": None, "output": [], "usage": None}
    empty = {**message, "status": "in_progress", "content": []}
    item = {"output_index": 0}
    place = {"item_id": message["id"], "output_index": 0, "content_index": 0}
    contents: list[tuple[str, dict[str, Any]]] = [
        ("created", {"response": begun}),
        ("in_progress", {"response": begun}),
        ("output_item.added", {**item, "item": empty}),
        ("content_part.added", {**place, "part": {**part, "text": ""}}),
        ("output_text.delta", {**place, "delta": part["text"], "logprobs": []}),
        ("output_text.done", {**place, "text": part["text"], "logprobs": []}),
        ("content_part.done", {**place, "part": part}),
        ("output_item.done", {**item, "item": message}),
        ("completed", {"response": whole}),
    ]
    return Reply("".join(_event(i, *each) for i, each in enumerate(contents)), EVENTS)


def _event(number: int, name: str, content: dict[str, Any]) -> str:
    kind = f"response.{name}"
    data = json.dumps({"type": kind, "sequence_number": number, **content})
    return f"event: {kind}\ndata: {data}\n\n"


def _usage(captioned: Captioned) -> dict[str, Any]:
    """Return the counts of tokens: the words of the captions, and none of the prompt."""
    words = captioned.words
    return {
        "input_tokens": 0,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": words,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": words,
    }
