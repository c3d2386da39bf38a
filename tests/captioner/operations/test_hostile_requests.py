"""Photos that are made to harm: the worker lives on, and its neighbours' requests are answered."""

from __future__ import annotations

import pytest

from tests.captioner.hostile_contract import check_bombs, check_hostile_photos
from tests.captioner.operations.servers import RunningServer

pytestmark = pytest.mark.slow


def test_hostile_photos_over_http(server: RunningServer) -> None:
    check_hostile_photos(server.inference, lambda: server.worker)


def test_a_request_of_bombs_is_refused_and_its_neighbour_is_captioned(
    server: RunningServer, render
) -> None:
    check_bombs(server.inference, lambda: server.worker, render())
