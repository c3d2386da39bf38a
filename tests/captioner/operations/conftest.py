"""Servers that versions are deployed to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.captioner.operations.site import Site, started


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path) -> Iterator[Site]:
    """For deploys that change nothing."""
    with started(tmp_path_factory.mktemp("site"), tiny_checkpoint) as site:
        yield site


@pytest.fixture
def fresh(tmp_path: Path, tiny_checkpoint: Path) -> Iterator[Site]:
    with started(tmp_path, tiny_checkpoint) as site:
        yield site
