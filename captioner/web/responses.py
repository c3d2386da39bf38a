"""Replies of the captioner and of the server as HTTP responses."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from captioner.web import errors
from captioner.web.errors import ServerError
from handler.errors import RequestError
from handler.replies import Reply, refusal, to_json

LINGER_SECONDS = 2.0  # in which the rest of a refused body is read
NO_STORE = {"Cache-Control": "no-store"}


class RefusedUpload(Response):
    """A response to a request whose body is not read to its end.

    A connection that is closed with bytes unread is reset, and its sender may then lose the
    response. So what still comes is read and dropped, for a moment.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_and_linger(message: Message) -> None:
            if message["type"] == "http.response.body":
                await send({**message, "more_body": True})
                with suppress(TimeoutError):
                    async with asyncio.timeout(LINGER_SECONDS):
                        while (await receive()).get("more_body"):
                            pass
                message = {"type": "http.response.body", "body": b""}
            await send(message)

        await super().__call__(scope, receive, send_and_linger)


def respond(
    reply: Reply, headers: Mapping[str, str] | None = None, kind: type[Response] = Response
) -> Response:
    """Return the response that sends a reply."""
    return kind(
        reply.body,
        reply.status,
        {**NO_STORE, **reply.headers, **(headers or {})},
        media_type=reply.media_type,
    )


def json_response(content: Mapping[str, Any], status: int = 200) -> Response:
    return respond(Reply(to_json(content), status=status))


async def respond_to_error(request: Request, error: Exception) -> Response:
    """Return the response to a request that was refused by an exception."""
    return refuse(request, error_reply(request, error))


def refuse(request: Request, reply: Reply) -> Response:
    """Return the response that sends a refusal; the body of the request need not be read yet."""
    headers = {"WWW-Authenticate": "Bearer"} if reply.status == 401 else {}
    if getattr(request.state, "body_is_read", False) or request.method in ("GET", "HEAD"):
        return respond(reply, headers)
    return respond(reply, {"Connection": "close", **headers}, RefusedUpload)


def exception_handlers() -> Mapping[Any, Any]:
    """Return the functions that answer requests which were refused, by exception or status."""
    return {
        RequestError: respond_to_error,
        ServerError: respond_to_error,
        ClientDisconnect: caller_gone,
        HTTPStatus.NOT_FOUND: no_such_address,
        HTTPStatus.METHOD_NOT_ALLOWED: no_such_method,
        Exception: respond_to_error,
    }


async def no_such_address(request: Request, error: Exception) -> Response:
    return await respond_to_error(request, errors.address_not_found())


async def no_such_method(request: Request, error: Exception) -> Response:
    response = await respond_to_error(request, errors.method_not_allowed())
    allowed = getattr(error, "headers", None) or {}
    response.headers.update(allowed)
    return response


async def caller_gone(request: Request, error: Exception) -> Response:
    """Return a response that nobody receives."""
    return Response(status_code=400)


def error_reply(request: Request, error: Exception) -> Reply:
    """Return the reply to a request that was refused by an exception."""
    if isinstance(error, RequestError):
        return refusal(error, request.state.request_id)
    if isinstance(error, ServerError):
        return error.reply()
    return errors.failed().reply()
