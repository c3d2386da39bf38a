"""Servers that tests share: starting one takes seconds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.captioner.operations.servers import RunningServer, Site, running_site


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path) -> Iterator[Site]:
    """A server with archives to deploy, for tests that leave it with version 1.0 alone."""
    with running_site(tmp_path_factory.mktemp("site"), tiny_checkpoint) as site:
        yield site


@pytest.fixture
def server(site: Site) -> RunningServer:
    """The same server, for tests that deploy nothing."""
    return site


@pytest.fixture
def fresh(tmp_path: Path, tiny_checkpoint: Path) -> Iterator[Site]:
    """A server with archives to deploy, of one test alone."""
    with running_site(tmp_path, tiny_checkpoint) as site:
        yield site
