"""The app on Ray Serve: its file, its ids, and a real cluster with a replica that is killed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
import yaml

from captioner.paths import ROOT
from tests.captioner import contract
from tests.captioner.operations.load import Load
from tests.captioner.web.fakes import wait_until
from tests.captioner.web.ray_cluster import REPLICAS, RayServe, running_ray_serve
from tests.captioner.web.servers import SECONDS, START_SECONDS

pytest.importorskip("ray.serve")
from captioner.web.ray_serve import NAME, ReplicaOptions, ServeNumbered, application

pytestmark = pytest.mark.slow  # importing Ray alone takes seconds
FILE = ROOT / "deploy" / "ray" / "serve.yaml"
CLIENTS = 8


def test_the_file_fits_ray_serve() -> None:
    from ray.serve.schema import ServeDeploySchema

    content = yaml.safe_load(FILE.read_text())
    (app,) = ServeDeploySchema.model_validate(content).applications
    module, _, builder = app.import_path.partition(":")
    assert (module, builder) == (application.__module__, application.__name__)
    assert [deployment.name for deployment in app.deployments] == [NAME]
    assert ReplicaOptions.read(app.args) == ReplicaOptions()
    (deployment,) = content["applications"][0]["deployments"]
    scaling = deployment["autoscaling_config"]
    assert scaling["target_ongoing_requests"] < deployment["max_ongoing_requests"]
    assert scaling["min_replicas"] < scaling["max_replicas"]


def test_arguments_that_cannot_be() -> None:
    assert ReplicaOptions.read({"workers": "2"}).workers == 2  # as `serve run` gives it
    with pytest.raises(ValueError, match="no argument port; there are checkpoint, version, work"):
        application({"port": 1})
    with pytest.raises(ValueError, match="workers is 'many'; it must be a number"):
        application({"workers": "many"})


def exchange(id: str) -> tuple[str, dict[bytes, bytes]]:
    """Send a request with an id; return the id that an app has, and the headers of its reply."""
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope.get("state", {}).get("request_id", ""))
        headers = [(b"x-request-id", b"its own"), (b"content-type", b"text/plain")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "headers": [(b"x-request-id", id.encode())]}
    asyncio.run(ServeNumbered(app)(scope, None, send))  # type: ignore[arg-type]
    return seen[0], dict(sent[0]["headers"])


def test_a_request_has_the_id_that_ray_serve_sends() -> None:
    assert exchange("a1-b2") == ("a1-b2", {b"content-type": b"text/plain"})
    assert exchange("a photo: SECRET\n")[0] == ""


@pytest.fixture(scope="module")
def ray_serve(
    tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RayServe]:
    with running_ray_serve(tiny_checkpoint, tmp_path_factory.mktemp("ray")) as served:
        yield served


def test_it_answers_as_the_others_do(ray_serve: RayServe, render, tmp_path: Path) -> None:
    contract.check_captions(ray_serve.url, ray_serve.checkpoint, render)
    contract.check_json_as_curl_sends_it(ray_serve.url, tmp_path, render)
    for path, key in (("/ping", "status"), ("/models/captioner", "options"), ("/v2", "name")):
        assert key in requests.get(ray_serve.url + path, timeout=SECONDS).json()


def test_a_killed_replica_loses_what_it_held_and_nothing_else(ray_serve: RayServe, render) -> None:
    photo = render()
    url = f"{ray_serve.url}/predictions/captioner"
    caption = requests.put(url, data=photo, timeout=SECONDS).json()["caption"]
    killed, *_ = ray_serve.replicas
    workers = killed.children(recursive=True)
    with Load(url, photo, clients=CLIENTS) as load:
        wait_until(lambda: len(load.answers) >= 3 * CLIENTS)
        killed.kill()
        before = len(load.answers)
        wait_until(lambda: len(load.answers) >= before + 10 * CLIENTS)
    assert set(load.answers) == {(200, "1.0", caption)}
    assert len(load.faults) <= CLIENTS  # each of them has one request at a time
    psutil.wait_procs(workers, SECONDS)
    assert not [worker for worker in workers if worker.is_running()]
    wait_until(lambda: len(ray_serve.replicas) == REPLICAS, START_SECONDS)
