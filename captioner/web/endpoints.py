"""The functions that answer requests, for the table in `captioner.web.routes`."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Mapping
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response

from captioner import __version__
from captioner.operations.store import MODEL
from captioner.web.document import openapi_document
from captioner.web.errors import unauthorized
from captioner.web.messages import Question
from captioner.web.models import Models
from captioner.web.pool import Pool
from captioner.web.reference import reference_page
from captioner.web.responses import json_response, respond
from captioner.web.uploads import Uploads
from handler.replies import Reply
from handler.routes import Route


class Endpoints:
    """The replies of the server.

    Parameters
    ----------
    key
        The key that callers of the captioner must send; None answers everyone.

    Attributes
    ----------
    served
        The versions of the captioner.
    uploads
        The bodies of requests.
    """

    def __init__(self, models: Models, key: str | None = None) -> None:
        self.served, self._key = models, key
        self.uploads = Uploads(models.limits)

    async def predict(self, request: Request) -> Response:
        return await self._caption(request, Route.PREDICT)

    async def explain(self, request: Request) -> Response:
        return await self._caption(request, Route.EXPLAIN)

    async def describe(self, request: Request) -> Response:
        """Return the card, options, formats and limits of a model."""
        self.check_key(request)
        reply = await self.ask(request, self._pool(request), Route.DESCRIBE, b"")
        return respond(reply)

    async def _caption(self, request: Request, route: Route) -> Response:
        self.check_key(request)
        pool = self._pool(request)
        pool.check_room()  # before the body is read
        async with self.uploads.body(request) as body:
            return respond(await self.ask(request, pool, route, body))

    async def ask(
        self,
        request: Request,
        pool: Pool,
        route: Route,
        body: bytes,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Have the captioner answer, unless the caller goes before.

        Parameters
        ----------
        request
            The request of the caller.
        body, headers
            The request to the captioner; without headers, it has those of the caller.

        Raises
        ------
        ServerError
            Too many requests wait.
        ClientDisconnect
            The caller has gone; nothing is computed for it.
        """
        if headers is None:
            headers = headers_of(request)
        question = Question(request.state.request_id, route, headers, body)
        answering = asyncio.create_task(pool.answer(question))
        gone = asyncio.create_task(_disconnected(request))
        try:
            await asyncio.wait([answering, gone], return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                raise ClientDisconnect
            return answering.result()
        finally:
            answering.cancel()
            gone.cancel()

    async def ping(self, request: Request) -> Response:
        """Say in TorchServe's words whether the default version has workers that are loaded."""
        pool = self.served.pool()
        if not pool.ready:
            return json_response({"status": "Unhealthy"}, 500)
        return json_response({"status": "Healthy" if pool.all_ready else "Partial Healthy"})

    async def live(self, request: Request) -> Response:
        return json_response({"live": True})

    async def ready(self, request: Request) -> Response:
        ready = self.served.pool().ready
        return json_response({"ready": ready}, 200 if ready else 503)

    async def server(self, request: Request) -> Response:
        return json_response({"name": MODEL, "version": __version__, "extensions": []})

    async def model(self, request: Request) -> Response:
        """Describe a model as KServe's V2 protocol does."""
        pool = self._pool(request)
        image = {"name": "image", "datatype": "BYTES", "shape": [-1]}
        names = (
            ("caption", "BYTES"),
            ("log_prob", "FP32"),
            ("confidence", "FP32"),
            ("reply", "BYTES"),
        )
        outputs = [{"name": name, "datatype": type, "shape": [-1]} for name, type in names]
        return json_response(
            {
                "name": MODEL,
                "versions": self.served.versions,
                "platform": "pytorch",
                "inputs": [image],
                "outputs": outputs,
                "parameters": pool.model,
            }
        )

    async def model_ready(self, request: Request) -> Response:
        ready = self._pool(request).ready
        return json_response({"name": MODEL, "ready": ready}, 200 if ready else 503)

    async def metrics(self, request: Request) -> Response:
        text = self.served.metrics.text()
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def openapi(self, request: Request) -> Response:
        return json_response(openapi_document())

    async def docs(self, request: Request) -> Response:
        return HTMLResponse(reference_page(openapi_document()))

    def _pool(self, request: Request) -> Pool:
        named: Mapping[str, Any] = request.path_params
        return self.served.pool(named.get("version"), named.get("model", MODEL))

    def check_key(self, request: Request) -> None:
        """Raise a `ServerError` with status 401 unless the caller has sent the key."""
        if self._key is None:
            return
        given = request.headers.get("authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {self._key}".encode()):
            raise unauthorized()


def headers_of(request: Request) -> dict[str, str]:
    """Return the headers by their names; those of one name are one, as RFC 9110 puts them."""
    headers: dict[str, str] = {}
    for name, value in request.headers.items():
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
