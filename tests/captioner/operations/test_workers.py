"""Workers: one that is killed, and the code that each runs."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import requests

from captioner.client import CaptionClient
from captioner.operations.package import package
from captioner.threads import SPIN_LIMITS, WAIT_POLICY
from tests.captioner.operations.archives import with_handler
from tests.captioner.operations.servers import RunningServer

pytestmark = pytest.mark.slow


def test_a_worker_that_is_killed_comes_back(server: RunningServer, render) -> None:
    photo = render()
    before = requests.put(server.url, data=photo, timeout=60).json()["caption"]
    killed = server.worker
    killed.kill()
    with CaptionClient(server.inference, retries=10) as client:
        assert client.caption(photo).caption == before
    assert server.worker.pid != killed.pid


def test_the_threads_of_a_worker_wait_as_the_server_says(server: RunningServer) -> None:
    names = {WAIT_POLICY, *SPIN_LIMITS}
    chosen = {name: value for name, value in os.environ.items() if name in names}
    assert chosen  # by tests/conftest.py, or by who runs the tests
    worker = server.worker.environ()
    assert {name: worker[name] for name in names & worker.keys()} == chosen


# Replies with names from the packages `model` and `handler`, which no other code has.
OTHER_HANDLER = """
import json
import handler.second
import model.second
from shipped_handler import CaptionerHandler as ShippedHandler

class CaptionerHandler(ShippedHandler):
    def handle(self, data, context):
        names = [model.second.NAME, handler.second.NAME]
        replies = [json.loads(body) for body in super().handle(data, context)]
        return [json.dumps(reply | {"names": names}) for reply in replies]
"""


def test_a_second_version_runs_its_own_code(server: RunningServer, render, tmp_path: Path) -> None:
    """The code of its archive: not the first version's, and not the checkout's."""
    photo = render()
    first = requests.put(server.url, data=photo, timeout=60).json()
    shipped = tmp_path / "captioner.mar"
    package(server.checkpoint, "9.0", shipped)
    second = with_handler(
        shipped,
        server.store / "captioner_9.mar",
        OTHER_HANDLER,
        {
            f"{name}/second.py": f"NAME = 'second {name}'\n".encode()
            for name in ("model", "handler")
        },
    )
    query = {"url": second.name, "initial_workers": 1, "synchronous": "true"}
    registered = requests.post(server.models, params=query, timeout=120)
    assert registered.status_code == 200, registered.text
    try:
        replies = {
            version: requests.post(f"{server.url}{version}", data=photo, timeout=60).json()
            for version in ("/9.0", "/1.0", "")
        }
        metrics = requests.get(f"http://127.0.0.1:{server.ports.metrics}/metrics", timeout=60).text
    finally:  # others use this server, too
        assert requests.delete(f"{server.models}/captioner/9.0", timeout=60).ok
        second.unlink(missing_ok=True)
    assert replies["/9.0"]["names"] == ["second model", "second handler"]
    assert replies["/9.0"]["model"]["version"] == "9.0"
    for version in ("/1.0", ""):
        assert replies[version].keys() == first.keys()
        assert replies[version]["model"]["version"] == "1.0"
    assert re.search(r'captioner_requests_total\{Outcome="ok",Version="9.0",.*\} 1.0', metrics)
