"""Nodes of Ray in a cluster of their own, which can be lost, and the actors on them."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import psutil

from benchmarks.machines import Machine
from captioner.paths import ROOT

SECONDS_TO_START = 900  # on a busy machine; a few on a quiet one


def cluster_environment() -> dict[str, str]:
    """Return an environment for all processes of a cluster that no others can join."""
    return os.environ | {
        "PYTHONPATH": str(ROOT),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_raylet_start_wait_time_s": str(SECONDS_TO_START),
        "PYTHONUNBUFFERED": "1",
    }


@dataclass(frozen=True)
class RayNode:
    """A node of Ray that was started here."""

    process: subprocess.Popen[str]
    folder: Path  # its temporary files

    @property
    def address(self) -> str:
        """The address of the cluster that this node is the head of."""
        return (self.folder / "ray_current_cluster").read_text().strip()

    def lose(self) -> None:
        """Kill the node with all that it has started, as a loss of power does."""
        if self.process.poll() is None:
            parent = psutil.Process(self.process.pid)
            for process in [*parent.children(recursive=True), parent]:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
        self.process.wait()


@contextmanager
def ray_node(
    machine: Machine, environment: Mapping[str, str], head: RayNode | None = None
) -> Iterator[RayNode]:
    """Start a node of Ray with one CPU on a machine; end it after the block unless it was lost.

    Parameters
    ----------
    environment
        What `cluster_environment` returned for this cluster, and more variables.
    head
        The first node of the cluster; None starts a cluster.

    Raises
    ------
    RuntimeError
        Ray does not start.
    """
    with tempfile.TemporaryDirectory() as folder:  # a short path, because its sockets are in it
        command = [*machine.enter, str(Path(sys.executable).with_name("ray")), "start", "--block"]
        command += ["--num-cpus=1", "--object-store-memory=100000000", f"--temp-dir={folder}"]
        command += ["--min-worker-port=0", "--max-worker-port=0", "--dashboard-agent-listen-port=0"]
        command += [f"--node-ip-address={machine.address}"]
        command += [f"--address={head.address}"] if head else _head_arguments()
        process = subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            text=True,
        )
        node = RayNode(process, Path(folder))
        try:
            assert process.stdout
            # The last line, after which the file with the address is there.
            lines = list(takewhile(lambda line: "block forever" not in line, process.stdout))
            if process.poll() is not None:
                raise RuntimeError(f"Ray does not start: {''.join(lines)}")
            yield node
        finally:
            node.lose()
            assert process.stdout
            process.stdout.close()


def _head_arguments() -> list[str]:
    """Return the arguments of a head with no more than a pool of actors needs."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        client_port = free.getsockname()[1]  # Ray's own choice may be another cluster's
    none = ["--include-dashboard=false", "--no-monitor"]
    return ["--head", "--port=0", f"--ray-client-server-port={client_port}", *none]


def actors(command: subprocess.Popen[str]) -> list[psutil.Process]:
    """Return the actors that write parts, among the processes that a command has started."""
    found = []
    with suppress(psutil.NoSuchProcess):
        for process in psutil.Process(command.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if "ray::MapWorker" in "".join([process.name(), *process.cmdline()]):
                    found.append(process)
    return found
