"""The page in front of a captioner that is served elsewhere: what the page asks is passed on."""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import httpx2
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from captioner.addresses import Address
from captioner.client.base import DIRECT
from captioner.operations.archive import VERSION
from captioner.operations.store import MODEL
from captioner.web.errors import ServerError, bad_gateway, unavailable, version_not_found
from captioner.web.page.files import PageFiles
from captioner.web.responses import NO_STORE, exception_handlers
from captioner.web.settings import Limits
from captioner.web.uploads import Uploads
from handler.options import HEADER

log = logging.getLogger("captioner")

# The headers that pass, besides those of options. What a reply's body is decides its type alone.
ASKED = {"accept", "authorization", "content-type"}
REPLIED = {"content-type", "retry-after", "www-authenticate", "x-request-id"}
CONNECT_SECONDS, REPLY_SECONDS = 10.0, 180.0
CONNECTIONS = 64  # to the server; further requests wait for one


def create_proxy(server: Address, limits: Limits | None = None) -> Starlette:
    """Return an app that has the page, and passes requests for captions to a server.

    A request is read whole, within the limits, before it is passed on: slow senders do not reach
    the server. No other address of the server can be reached.

    Parameters
    ----------
    server
        Its user and password, if it has them, are sent with each request that has no
        ``Authorization`` of its own.
    """
    proxy = _Proxy(server, limits or Limits.read())
    send, get = ["POST", "PUT"], ["GET"]
    app = Starlette(
        routes=[
            *PageFiles(docs=False).routes(),
            Route(f"/predictions/{MODEL}", proxy.send, methods=send),
            Route(f"/predictions/{MODEL}/{{version}}", proxy.send, methods=send),
            Route(f"/models/{MODEL}", proxy.describe, methods=get),
        ],
        exception_handlers=exception_handlers(),
        lifespan=proxy.lifespan,
    )
    app.router.redirect_slashes = False  # as in captioner.web.app
    return app


class _Proxy:
    def __init__(self, server: Address, limits: Limits) -> None:
        self._server, self._uploads = server, Uploads(limits)
        self._client: httpx2.AsyncClient

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        async with httpx2.AsyncClient(
            timeout=httpx2.Timeout(REPLY_SECONDS, connect=CONNECT_SECONDS),
            limits=httpx2.Limits(max_connections=CONNECTIONS),
            mounts=DIRECT,
        ) as self._client:
            yield

    async def send(self, request: Request) -> Response:
        """Pass a photo on, and the reply back."""
        request.state.request_id = str(uuid.uuid4())
        version = request.path_params.get("version", "")
        if version and not re.fullmatch(VERSION, version):
            raise version_not_found(version)
        path = f"/predictions/{MODEL}" + (f"/{version}" if version else "")
        async with self._uploads.body(request) as body:
            return await self._pass_on(request, path, body)

    async def describe(self, request: Request) -> Response:
        return await self._pass_on(request, f"/models/{MODEL}", b"")

    async def _pass_on(self, request: Request, path: str, body: bytes) -> Response:
        asked = self._client.build_request(
            request.method,
            self._server.url + path,
            content=body,
            headers=_passing(request.headers, ASKED, HEADER) | {"accept-encoding": "identity"},
        )
        own = "authorization" in request.headers
        auth = None if own or not self._server.auth else httpx2.BasicAuth(*self._server.auth)
        try:
            reply = await self._client.send(asked, auth=auth)
        except httpx2.PoolTimeout:
            raise unavailable("too many requests wait for the captioner") from None
        except httpx2.HTTPError as error:
            raise self._gone(error) from error
        if reply.is_redirect:
            raise bad_gateway("the captioner behind this page has another address; name that")
        headers = NO_STORE | _passing(reply.headers, REPLIED)
        return Response(reply.content, reply.status_code, headers)

    def _gone(self, error: Exception) -> ServerError:
        # Whoever reads the page need not know the address, whoever runs it must.
        log.warning("%s does not answer: %s", self._server.url, error or type(error).__name__)
        return bad_gateway("the captioner behind this page does not answer")


def _passing(headers: Mapping[str, str], names: set[str], prefix: str = "\0") -> dict[str, str]:
    """Return the headers that pass: those of some names, and those that begin with a prefix."""
    return {
        name: value
        for name, value in headers.items()
        if name.lower() in names or name.lower().startswith(prefix)
    }
