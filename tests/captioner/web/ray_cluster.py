"""Ray Serve in a cluster of this machine alone, as a test starts it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import requests
import yaml

from captioner.paths import ROOT
from tests.captioner.web.fakes import wait_until
from tests.captioner.web.servers import SECONDS, START_SECONDS, patient
from tests.captioner.web.test_rolling import free_port

REPLICAS = 2
# `serve run`, in a cluster that nothing else reaches and that is small.
PROGRAM = """
import sys
import ray
ray.init("local", num_cpus=2, object_store_memory=10**8, include_dashboard=False,
         _node_ip_address="127.0.0.1", _temp_dir=sys.argv[2])
from ray.serve.scripts import cli
cli(["run", sys.argv[1]])
"""


@dataclass
class RayServe:
    """A running `serve run` and the checkpoint that it serves as version 1.0."""

    process: subprocess.Popen[bytes]
    checkpoint: Path
    url: str
    log: Path

    @property
    def replicas(self) -> list[psutil.Process]:
        found = []
        for process in psutil.Process(self.process.pid).children(recursive=True):
            with suppress(psutil.Error):
                if "::ServeReplica:" in " ".join(process.cmdline()):
                    found.append(process)
        return found

    def is_ready(self) -> bool:
        with suppress(requests.RequestException):
            return requests.get(f"{self.url}/v2/health/ready", timeout=SECONDS).status_code == 200
        return False


def configuration(checkpoint: Path, port: int) -> dict[str, object]:
    """Return deploy/ray/serve.yaml for a checkpoint and a small machine."""
    content = yaml.safe_load((ROOT / "deploy" / "ray" / "serve.yaml").read_text())
    content["http_options"]["port"] = port
    (application,) = content["applications"]
    application["args"] |= {"checkpoint": str(checkpoint), "device": "cpu", "precision": "float32"}
    (deployment,) = application["deployments"]
    deployment["ray_actor_options"]["num_cpus"] = 0.5
    deployment["autoscaling_config"]["min_replicas"] = REPLICAS
    deployment["health_check_timeout_s"] = SECONDS  # as slow as tests may make the machine
    return dict(content)


@contextmanager
def running_ray_serve(checkpoint: Path, folder: Path) -> Iterator[RayServe]:
    port, log = free_port(), folder / "log"
    temporary = tempfile.mkdtemp(prefix="ray")  # short: the paths of sockets have a limit
    with patient(checkpoint) as patiently, open(log, "w") as out:
        path = folder / "serve.yaml"
        path.write_text(json.dumps(configuration(patiently, port)))
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(path), temporary],
            cwd=ROOT,
            env=os.environ | {"RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(ROOT)},
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        served = RayServe(process, checkpoint, f"http://127.0.0.1:{port}", log)
        try:
            wait_until(
                lambda: (
                    process.poll() is not None
                    or (len(served.replicas) == REPLICAS and served.is_ready())
                ),
                START_SECONDS,
            )
            assert process.poll() is None, log.read_text()[-5000:]
            yield served
        finally:
            _end(process)
            shutil.rmtree(temporary, ignore_errors=True)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process by Ctrl-C, and then whatever it has left running."""
    left = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.send_signal(signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(SECONDS)
    process.kill()
    process.wait()
    for each in left:
        with suppress(psutil.Error):
            each.kill()
