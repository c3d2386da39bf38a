"""The table of addresses."""

from __future__ import annotations

from starlette.routing import BaseRoute, Route

from captioner.web.endpoints import Endpoints
from captioner.web.page.files import PageFiles
from captioner.web.protocols.endpoints import protocol_routes


def routes(of: Endpoints) -> list[BaseRoute]:
    """Return what is answered at each address, and by which methods."""
    send, get = ["POST", "PUT"], ["GET"]
    v1, v2 = "/v1/models/{model}", "/v2/models/{model}"
    version = "/versions/{version}"
    rows = [
        # Captions. TorchServe has the same addresses.
        ("/predictions/{model}", send, of.predict),
        ("/predictions/{model}/{version}", send, of.predict),
        ("/explanations/{model}", send, of.explain),
        ("/explanations/{model}/{version}", send, of.explain),
        (f"{v1}:predict", send, of.predict),
        (f"{v1}:explain", send, of.explain),
        (f"{v2}/infer", send, of.predict),
        (f"{v2}/explain", send, of.explain),
        (f"{v2}{version}/infer", send, of.predict),
        (f"{v2}{version}/explain", send, of.explain),
        ("/invocations", send, of.predict),  # SageMaker
        # What is served.
        ("/models/{model}", get, of.describe),
        ("/models/{model}/{version}", get, of.describe),
        ("/v2", get, of.server),
        (v2, get, of.model),
        (f"{v2}/ready", get, of.model_ready),
        (f"{v2}{version}", get, of.model),
        (f"{v2}{version}/ready", get, of.model_ready),
        # The server.
        ("/ping", get, of.ping),
        ("/v2/health/live", get, of.live),
        ("/v2/health/ready", get, of.ready),
        ("/metrics", get, of.metrics),
        ("/openapi.json", get, of.openapi),
        ("/docs", get, of.docs),
    ]
    ours = [Route(path, endpoint, methods=methods) for path, methods, endpoint in rows]
    return [*PageFiles().routes(), *ours, *protocol_routes(of)]
