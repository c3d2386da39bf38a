"""Every test that asks for ``connect`` runs with both clients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.captioner.client.both import EitherClient


@pytest.fixture(params=["sync", "async"])
def connect(request: pytest.FixtureRequest) -> Iterator[Callable[..., EitherClient]]:
    """A function that makes a client of either kind."""
    clients = []

    def make(url: str, **settings: Any) -> EitherClient:
        clients.append(EitherClient(request.param, url=url, **settings))
        return clients[-1]

    yield make
    for client in clients:
        client.end()
