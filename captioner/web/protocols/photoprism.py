"""The API of PhotoPrism's vision service.

Requests and replies are the ``ApiRequest`` and ``ApiResponse`` of its internal/ai/vision.
"""

from __future__ import annotations

from typing import Any

from captioner.operations.store import MODEL
from captioner.web.protocols.queries import (
    Captioned,
    Failure,
    PhotoCaption,
    Query,
    base64_of,
    checked_photos,
    json_reply,
    list_field,
    text_field,
)
from handler.errors import RequestError
from handler.replies import Reply

SOURCE = "image"  # PhotoPrism keeps a caption of this source until someone writes another


def read(body: dict[str, Any]) -> Query:
    """Read ``{"images": [...], "id": ..., "model": ..., "version": ...}``; prompts are ignored.

    Raises
    ------
    RequestError
        It holds no photo, or the address of one.
    """
    if body.get("url"):
        raise RequestError(
            "invalid_request",
            "url is an address, and this server fetches none: set FileScheme: data in vision.yml",
        )
    images = [base64_of(each, f"images[{i}]") for i, each in enumerate(list_field(body, "images"))]
    photos = checked_photos(images, 'send it as {"images": ["data:image/jpeg;base64,..."]}')
    id = text_field(body, "id")
    return Query(_model(body), photos, lambda captioned: _reply(captioned, id))


def failure(of: Failure) -> dict[str, Any]:
    """Return an error as ``NewApiError`` of PhotoPrism makes it."""
    return {"id": of.request_id, "code": of.status, "error": of.message, "result": {}}


def _model(body: dict[str, Any]) -> str:
    """Return the name with the version, which PhotoPrism sends apart or as one."""
    model, version = text_field(body, "model"), text_field(body, "version")
    return f"{model or MODEL}:{version}" if version and ":" not in model else model


def _reply(captioned: Captioned, id: str) -> Reply:
    """Return the reply; the captions of several photos stand beside the first, which is read."""
    first, *others = (_caption(each) for each in captioned.captions)
    result: dict[str, Any] = {"caption": first}
    if others:
        result["captions"] = [first, *others]
    return json_reply(
        {
            "id": id or captioned.request_id,
            "code": 200,
            "model": {"type": "caption", "name": MODEL, "version": captioned.version},
            "result": result,
        }
    )


def _caption(caption: PhotoCaption) -> dict[str, Any]:
    result: dict[str, Any] = {"text": caption.text, "source": SOURCE}
    if caption.confidence is not None:
        result["confidence"] = caption.confidence
    return result
