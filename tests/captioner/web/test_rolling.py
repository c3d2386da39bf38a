"""A new version in the place of another, by a second server at the same port."""

from __future__ import annotations

import signal
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from captioner.web.run import WebOptions, listen
from tests.captioner.operations.load import Load
from tests.captioner.web.fakes import wait_until
from tests.captioner.web.servers import SECONDS, running_web


def free_port() -> int:
    with listen("127.0.0.1", 0) as listener:
        return int(listener.getsockname()[1])


def wait_for_answers(load: Load, version: str, count: int) -> None:
    """Wait until a version has given so many answers, or something is lost."""
    wait_until(lambda: [v for _, v, _ in load.answers].count(version) >= count or bool(load.faults))


def test_a_port_is_shared_by_servers_that_agree_to_it() -> None:
    with listen("127.0.0.1", 0, reuse_port=True) as first:
        port = first.getsockname()[1]
        with listen("127.0.0.1", port, reuse_port=True) as second:
            second.listen()
            with socket.create_connection(("127.0.0.1", port), SECONDS):
                second.accept()[0].close()  # the first has the address, but does not listen yet
            with pytest.raises(ValueError, match=f"port {port} of 127.0.0.1 cannot be used"):
                listen("127.0.0.1", port)
    with pytest.raises(ValueError, match="--reuse-port needs a --port"):
        WebOptions(port=0, reuse_port=True)


@pytest.mark.slow
def test_a_rolling_restart_loses_nothing(tiny_checkpoint: Path, render) -> None:
    """Neither callers who keep their connection nor those who make one for each request."""
    options = ("--port", free_port(), "--reuse-port", "--version")
    with ExitStack() as servers:
        old = servers.enter_context(running_web(tiny_checkpoint, *options, "1.0"))
        photo, url = render(), old.predictions
        caption = requests.put(url, data=photo, timeout=SECONDS).json()["caption"]
        with (
            Load(url, photo) as kept,
            Load(url, photo, headers={"Connection": "close"}) as closed,
        ):
            loads = (kept, closed)
            for load in loads:
                wait_for_answers(load, "1.0", 5)
            servers.enter_context(running_web(tiny_checkpoint, *options, "2.0"))
            old.process.send_signal(signal.SIGTERM)
            assert old.process.wait(SECONDS) == 0
            for load in loads:
                wait_for_answers(load, "2.0", 20)
    for load in loads:
        assert load.faults == []
        assert set(load.answers) == {(200, "1.0", caption), (200, "2.0", caption)}
