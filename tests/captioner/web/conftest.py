from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.captioner.web.servers import RunningWeb, running_web


@pytest.fixture(scope="session")
def web(tiny_checkpoint: Path) -> Iterator[RunningWeb]:
    """A server with one worker, for tests that leave it as it is."""
    with running_web(tiny_checkpoint, "--precision", "float32") as web:
        yield web
