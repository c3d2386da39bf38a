"""Requests of other systems' protocols -> photos, and their captions -> replies."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple, NoReturn, TypeAlias

from captioner.operations.store import MODEL
from captioner.web.errors import ServerError
from handler.caption_request import MAX_PHOTOS
from handler.errors import RequestError, quoted
from handler.replies import Reply, to_json

LATEST = "latest"  # the tag that stands for the default version
MAX_SCHEME = 40  # characters


class PhotoCaption(NamedTuple):
    """The best caption of a photo; the confidence is None if the captioner has none."""

    text: str
    confidence: float | None


class Captioned(NamedTuple):
    """The captions of a query's photos, in their order.

    Attributes
    ----------
    request_id
        As in the header ``x-request-id`` and in the log.
    version
        The version of the captioner that answered.
    seconds
        From the end of the request to its reply.
    """

    captions: Sequence[PhotoCaption]
    request_id: str
    version: str
    seconds: float

    @property
    def text(self) -> str:
        """The captions, a line each, for protocols that reply with one text."""
        return "\n".join(each.text for each in self.captions)

    @property
    def words(self) -> int:
        """The number of words of all captions, where a protocol counts tokens."""
        return len(self.text.split())


class Query(NamedTuple):
    """A request in the form of another system.

    Attributes
    ----------
    model
        The name of the model that is asked; empty for the default version.
    photos
        Each in base64. A query without photos is replied to at once.
    reply
        Makes the reply of the captions.
    """

    model: str
    photos: list[str]
    reply: Callable[[Captioned], Reply]


class Failure(NamedTuple):
    """A refusal or an error, which each protocol states in its own form."""

    status: int
    code: str  # a name for programs
    message: str  # a sentence for people
    request_id: str


ReadQuery: TypeAlias = Callable[[dict[str, Any]], Query]
WriteFailure: TypeAlias = Callable[[Failure], dict[str, Any]]


def json_reply(content: dict[str, Any]) -> Reply:
    return Reply(to_json(content))


def read_failure(reply: Reply, request_id: str) -> Failure:
    """Return the failure that a reply of the captioner or of the server states."""
    content = json.loads(reply.body)
    error = content.get("error", content)
    return Failure(reply.status, error.get("type", error["code"]), error["message"], request_id)


def requested_version(model: str) -> str | None:
    """Return the version that a model's name asks for; None is the default.

    Raises
    ------
    ServerError
        The name is not the captioner's.
    """
    name, _, tag = model.partition(":")
    if model and name != MODEL:
        raise ServerError(
            HTTPStatus.NOT_FOUND,
            "model_not_found",
            f"there is no model {quoted(model)} here; ask for {MODEL}",
        )
    return None if tag in ("", LATEST) else tag


def model_names(versions: Iterable[str], default: str) -> dict[str, str]:
    """Return the names by which versions are asked for, each with its version, default first."""
    others = {f"{MODEL}:{each}": each for each in versions if each != default}
    return {f"{MODEL}:{LATEST}": default, **others}


def text_field(body: dict[str, Any], name: str) -> str:
    """Return a field of a request that is a text, or empty if it is missing."""
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise RequestError("invalid_request", f"{name} is {quoted(value)}; it must be a text")
    return value or ""


def model_field(body: dict[str, Any]) -> str:
    """Return the name of the model in a protocol that demands one."""
    if model := text_field(body, "model"):
        return model
    raise RequestError("invalid_request", f"model is missing; ask for {MODEL}")


def list_field(body: dict[str, Any], name: str) -> list[Any]:
    """Return a field of a request that is a list, or an empty list if it is missing."""
    value = body.get(name)
    if value is not None and not isinstance(value, list):
        raise RequestError("invalid_request", f"{name} is {quoted(value)}; it must be a list")
    return value or []


def checked_photos(photos: list[str], how: str) -> list[str]:
    """Return the photos of a query if their number is allowed.

    Parameters
    ----------
    how
        The way to send a photo, for the message if there is none.
    """
    if not photos:
        raise RequestError(
            "invalid_request",
            f"the request holds no photo; this server captions photos and answers no prompt: {how}",
        )
    if len(photos) > MAX_PHOTOS:
        raise RequestError(
            "invalid_request", f"the request holds {len(photos)} photos; send at most {MAX_PHOTOS}"
        )
    return photos


def base64_of(photo: Any, part: str) -> str:
    """Return the base64 of a photo that is given as that or as a ``data:`` URL (RFC 2397).

    Whoever decodes it checks it.

    Parameters
    ----------
    part
        The part of the request that holds the photo, for messages.

    Raises
    ------
    RequestError
        It is the address of a photo, or no text.
    """
    if not isinstance(photo, str):
        raise RequestError(
            "invalid_request", f"{part} is {quoted(photo)}; it must be a photo's file in base64"
        )
    scheme, colon, _ = photo[:MAX_SCHEME].partition(":")
    if not colon:
        return photo
    if scheme.lower() != "data":
        raise RequestError(
            "invalid_request",
            f"{part} is an address, and this server fetches none: send the photo itself, as"
            " data:image/jpeg;base64,...",
        )
    head, _, data = photo.partition(",")
    if not head.lower().endswith(";base64"):
        raise RequestError("invalid_request", f"{part} is a data: URL that is not in base64")
    return data


def since_last_reply(messages: list[Any], part: str = "messages") -> list[dict[str, Any]]:
    """Return the messages of a chat after the assistant's last one.

    Parameters
    ----------
    part
        The part of the request that holds them, for messages of errors.

    Raises
    ------
    RequestError
        A message is no JSON object.
    """
    asked: list[dict[str, Any]] = []
    for i, message in enumerate(messages):
        if not isinstance(message, dict):
            raise RequestError("invalid_request", f"{part}[{i}] must be a JSON object")
        if message.get("role") == "assistant":
            asked.clear()
        else:
            asked.append(message)
    return asked


def refuse_format(value: Any, name: str) -> NoReturn:
    raise RequestError(
        "invalid_request", f"{name} is {quoted(value)}; a caption is plain text, leave {name} out"
    )
