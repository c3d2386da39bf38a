"""The web app on Ray Serve: each replica has the app and its worker processes.

``application`` is what ``serve run captioner.web.ray_serve:application`` and deploy/ray/serve.yaml
name. Nothing else imports this module: it needs ``pip install 'captioner[ray]'``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ray import serve
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from captioner.paths import SHIPPED
from captioner.web.app import create_app
from captioner.web.keys import open_key_file
from captioner.web.models import Models
from captioner.web.settings import Computing
from captioner.web.versions import open_version

NAME = "Captioner"  # of the deployment
REQUEST_ID = "x-request-id"


@dataclass(frozen=True)
class ReplicaOptions:
    """The arguments of the application: what every replica serves; see ``captioner web --help``."""

    checkpoint: str | None = None  # None is the shipped one
    version: str | None = None
    workers: int = 1
    device: str = "auto"
    precision: str = "auto"
    key_file: str | None = None

    @classmethod
    def read(cls, arguments: Mapping[str, Any]) -> ReplicaOptions:
        """Read the arguments of a configuration file or of ``serve run``.

        Raises
        ------
        ValueError
            There is no such argument, or a value is none.
        """
        known = [field.name for field in fields(cls)]
        if unknown := arguments.keys() - set(known):
            raise ValueError(
                f"there is no argument {', '.join(sorted(unknown))}; there are {', '.join(known)}"
            )
        workers = str(arguments.get("workers", cls.workers))  # a text, if a shell gave it
        if not workers.isdecimal():
            raise ValueError(f"workers is {workers!r}; it must be a number")
        return cls(**{**arguments, "workers": int(workers)})


class Replica:
    """A replica of the deployment: the app of one version.

    Raises
    ------
    ValueError
        The checkpoint, the version or the key file cannot be used.
    """

    def __init__(self, options: ReplicaOptions) -> None:
        self._unpacked = ExitStack()  # of an archive; until the replica ends
        checkpoint = Path(options.checkpoint) if options.checkpoint else SHIPPED
        served = self._unpacked.enter_context(open_version(checkpoint, options.version))
        computing = Computing(options.workers, options.device, options.precision)
        self._models = Models([served], computing)
        self._key = open_key_file(Path(options.key_file)) if options.key_file else None

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """Return the app, whose workers Ray Serve starts with its lifespan."""
        return ServeNumbered(create_app(self._models, self._key))

    def check_health(self) -> None:
        """Raise `RuntimeError` if no worker is up; after several times Ray replaces the replica."""
        if not self._models.pool().ready:
            raise RuntimeError("no worker is up")


class ServeNumbered:
    """An app whose requests have the ids that Ray Serve gives them, and sends in a header."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_without_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                del MutableHeaders(scope=message)[REQUEST_ID]  # Ray Serve adds it
            await send(message)

        # A caller may have sent it: what no id looks like is not for the log.
        if re.fullmatch(r"[\w-]{1,64}", given := Headers(scope=scope).get(REQUEST_ID, "")):
            scope = {**scope, "state": {**scope.get("state", {}), "request_id": given}}
        await self._app(scope, receive, send_without_id)


def application(arguments: dict[str, Any]) -> serve.Application:
    """Return the application of Ray Serve.

    Parameters
    ----------
    arguments
        Those of `ReplicaOptions`.

    Raises
    ------
    ValueError
        An argument is not known or not valid.
    """
    options = ReplicaOptions.read(arguments)
    deployment = serve.deployment(name=NAME)(serve.ingress()(Replica))
    return deployment.bind(options)
