"""The photos that are made to harm TorchServe's worker do not harm the web server's either."""

from __future__ import annotations

import pytest

from tests.captioner.hostile_contract import check_bombs, check_hostile_photos
from tests.captioner.web.servers import RunningWeb

pytestmark = pytest.mark.slow


def test_hostile_photos_over_http(web: RunningWeb) -> None:
    check_hostile_photos(web.url, lambda: web.workers[0])


def test_a_request_of_bombs_is_refused_and_its_neighbour_is_captioned(
    web: RunningWeb, render
) -> None:
    check_bombs(web.url, lambda: web.workers[0], render())
