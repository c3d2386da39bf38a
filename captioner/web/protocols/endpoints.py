"""The functions that answer requests of other systems' clients, and the addresses of those."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from captioner import __version__
from captioner.operations.store import MODEL
from captioner.web.endpoints import Endpoints, headers_of
from captioner.web.errors import ServerError
from captioner.web.pool import Pool
from captioner.web.protocols import ollama, openai, openai_responses, photoprism
from captioner.web.protocols.queries import (
    Captioned,
    PhotoCaption,
    ReadQuery,
    WriteFailure,
    json_reply,
    model_names,
    read_failure,
    requested_version,
    text_field,
)
from captioner.web.responses import error_reply, json_response, refuse, respond
from handler import routes
from handler.errors import RequestError
from handler.json_bodies import checked_object, parse_json
from handler.replies import JSON, Reply, to_json

Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]


def protocol_routes(of: Endpoints) -> list[BaseRoute]:
    """Return what is answered at the addresses of other systems.

    Two of OpenAI's addresses are KServe's as well; their replies are for both.
    """
    ours = ProtocolEndpoints(of)
    send, get = ["POST"], ["GET"]
    rows = [
        (
            "/api/v1/vision/caption",
            send,
            ours.caption(photoprism.read, photoprism.failure),
        ),
        ("/api/generate", send, ours.caption(ollama.read_generate, ollama.failure)),
        ("/api/chat", send, ours.caption(ollama.read_chat, ollama.failure)),
        ("/api/tags", get, ours.endpoint(ours.ollama_models, ollama.failure)),
        ("/api/ps", get, ours.endpoint(ours.ollama_loaded, ollama.failure)),
        ("/api/show", send, ours.endpoint(ours.ollama_description, ollama.failure)),
        ("/api/version", get, ours.ollama_version),
        ("/v1/chat/completions", send, ours.caption(openai.read, openai.failure)),
        ("/v1/responses", send, ours.caption(openai_responses.read, openai.failure)),
        ("/v1/models", get, ours.openai_models),
        ("/v1/models/{model}", get, ours.endpoint(ours.openai_model, openai.failure)),
    ]
    return [Route(path, endpoint, methods=methods) for path, methods, endpoint in rows]


class ProtocolEndpoints:
    """The replies to clients of other systems."""

    def __init__(self, of: Endpoints) -> None:
        self._of = of

    def caption(self, read: ReadQuery, write_failure: WriteFailure) -> Endpoint:
        """Return an endpoint that captions photos in the form of another system."""

        async def captions(request: Request) -> Reply:
            return await self._caption(request, read)

        return self.endpoint(captions, write_failure)

    def endpoint(
        self, answer: Callable[[Request], Awaitable[Reply]], write_failure: WriteFailure
    ) -> Endpoint:
        """Return an endpoint that states its failures in the form of another system."""

        async def answered(request: Request) -> Response:
            try:
                reply = await answer(request)
            except (RequestError, ServerError) as error:
                reply = error_reply(request, error)
            if reply.outcome == "ok":
                return respond(reply)
            failure = read_failure(reply, request.state.request_id)
            return refuse(request, reply._replace(body=to_json(write_failure(failure))))

        return answered

    async def ollama_models(self, request: Request) -> Reply:
        self._of.check_key(request)
        return json_reply(ollama.models(self._served()))

    async def ollama_loaded(self, request: Request) -> Reply:
        self._of.check_key(request)
        return json_reply(ollama.loaded_models(self._served()))

    async def ollama_description(self, request: Request) -> Reply:
        self._of.check_key(request)
        async with self._of.uploads.body(request) as body:
            asked = checked_object(parse_json(body), "the body")
        name = text_field(asked, "model") or text_field(asked, "name")
        return json_reply(ollama.description(self._pool(name)))

    async def ollama_version(self, request: Request) -> Response:
        return json_response({"version": __version__})

    async def openai_models(self, request: Request) -> Response:
        return json_response({"models": [MODEL], **openai.models(self._served())})

    async def openai_model(self, request: Request) -> Reply:
        name = request.path_params["model"]
        pool = self._pool(name)
        content = {"name": MODEL, "ready": pool.ready, **openai.model(name, pool)}
        return json_reply(content)._replace(status=200 if pool.ready else 503)

    async def _caption(self, request: Request, read: ReadQuery) -> Reply:
        self._of.check_key(request)
        self._of.served.pool().check_room()  # before the body is read
        async with self._of.uploads.body(request) as body:
            started = time.monotonic()
            query = read(checked_object(parse_json(body), "the body"))
            pool = self._pool(query.model)
            captions: list[PhotoCaption] = []
            if query.photos:
                reply = await self._ask(request, pool, query.photos)
                if reply.outcome != "ok":
                    return reply
                captions = _captions(reply)
        seconds = time.monotonic() - started
        request_id = request.state.request_id
        return query.reply(Captioned(captions, request_id, pool.version, seconds))

    async def _ask(self, request: Request, pool: Pool, photos: list[str]) -> Reply:
        """Have photos captioned by a request in KServe's V2 protocol; the list is emptied."""
        tensor = {
            "name": "image",
            "shape": [len(photos)],
            "datatype": "BYTES",
            "data": photos,
        }
        headers = {**headers_of(request), "content-type": JSON}
        body = to_json({"inputs": [tensor]}).encode()
        photos.clear()  # they may be large, and are in the body now
        with self._of.uploads.holding(len(body)):
            return await self._of.ask(request, pool, routes.Route.PREDICT, body, headers)

    def _pool(self, model: str) -> Pool:
        return self._of.served.pool(requested_version(model))

    def _served(self) -> Mapping[str, Pool]:
        """Return the versions by the names that ask for them."""
        models = self._of.served
        names = model_names(models.versions, models.default)
        return {name: models.pool(version) for name, version in names.items()}


def _captions(reply: Reply) -> list[PhotoCaption]:
    """Return the captions in a reply of KServe's V2 protocol."""
    outputs: dict[str, list[Any]] = {
        each["name"]: each["data"] for each in json.loads(reply.body)["outputs"]
    }
    texts = outputs["caption"]
    confidences = outputs.get("confidence", [None] * len(texts))
    return [*map(PhotoCaption, texts, confidences)]
