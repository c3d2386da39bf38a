"""The ASGI app."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from captioner.web import responses
from captioner.web.endpoints import Endpoints
from captioner.web.metrics import ServerMetrics
from captioner.web.models import Models
from captioner.web.routes import routes


def create_app(models: Models, key: str | None = None) -> Starlette:
    """Return the app that serves models; as it starts it starts their workers.

    Parameters
    ----------
    key
        The key that callers of the captioner must send; None answers everyone.
    """

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await models.start()
        try:
            yield
        finally:
            await models.stop()

    app = Starlette(
        routes=routes(Endpoints(models, key)),
        middleware=[Middleware(Numbered, metrics=models.metrics)],
        exception_handlers=responses.exception_handlers(),
        lifespan=lifespan,
    )
    # Who adds a slash would be sent to the host that its own Host header names, without its photo.
    app.router.redirect_slashes = False
    return app


class Numbered:
    """Middleware that gives every request an id, sends it in a header, and counts the reply."""

    def __init__(self, app: ASGIApp, metrics: ServerMetrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # A server in front may have given it one.
        request_id = scope.setdefault("state", {}).setdefault("request_id", str(uuid.uuid4()))

        async def send_numbered(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["x-request-id"] = request_id
                self._metrics.count(message["status"])
            await send(message)

        await self._app(scope, receive, send_numbered)
