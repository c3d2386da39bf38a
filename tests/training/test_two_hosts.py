"""Training on two hosts, one of which is lost: two network namespaces and a cable between them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from training.config import TrainingConfig
from training.loop.run_folder import RunFolder

ROOT = Path(__file__).resolve().parents[2]

# The order of the agents gives their workers' ranks: the worker of the first, which holds the
# rendezvous, is the one that writes.
ADDRESSES = ("10.77.0.1", "10.77.0.2")

ENVIRONMENT = {
    "PYTHONPATH": str(ROOT),
    "OMP_NUM_THREADS": "1",
    "GLOO_SOCKET_IFNAME": "eth0",
    "TP_SOCKET_IFNAME": "eth0",
    # The address of a shared store is sent in the first round only: an agent that comes in a later
    # one asks for it until it times out.
    "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
}

# When a state of a pause's name or a later one is saved, the process waits for the pause's file.
COMMAND = """
import logging, pickle, sys, time, torch
from pathlib import Path
torch.set_num_threads(1)
from training.loop.run_folder import RunFolder
from training.train import train
logging.basicConfig(level=logging.INFO)
training, pauses = pickle.loads(Path(sys.argv[1]).read_bytes())
save_state = RunFolder.save_state
def save_and_pause(folder, *arguments):
    save_state(folder, *arguments)
    for state, file in pauses.items():
        while folder.states()[-1].name >= state and not file.exists():
            time.sleep(0.01)
RunFolder.save_state = save_and_pause
train(training, resume=True)
"""


@dataclass
class Host:
    """A network namespace, whose processes see nothing but the cable to the other one."""

    name: str
    address: str
    log: Path
    agents: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, torchrun: list[str]) -> None:
        with self.log.open("ab") as file:
            agent = subprocess.Popen(
                ["ip", "netns", "exec", self.name, *torchrun],
                cwd=self.log.parent,
                env=os.environ | ENVIRONMENT,
                stdout=file,
                stderr=file,
            )
        self.agents.append(agent)

    def processes(self) -> set[int]:
        """Return the agent and, in a session of its own, its worker."""
        return {int(number) for number in ip("netns", "pids", self.name).split()}

    def kill_worker(self) -> None:
        for process in self.processes() - {self.agents[-1].pid}:
            kill(process)

    def lose(self) -> None:
        """Kill every process here by SIGKILL, and wait until all are gone."""
        for agent in self.agents:
            agent.kill()
            agent.wait(20)
        deadline = time.monotonic() + 20
        while found := self.processes():
            assert time.monotonic() < deadline, f"{found} outlive SIGKILL"
            for process in found:
                kill(process)
            time.sleep(0.05)


def kill(process: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def ip(*arguments: str) -> str:
    command = ["ip", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=20).stdout


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[list[Host]]:
    if shutil.which("ip") is None:
        pytest.skip("no `ip` to make network namespaces with: install iproute2")
    unique = f"captioner-{uuid.uuid4().hex[:8]}"
    pair = [Host(f"{unique}-{a}", a, tmp_path / f"{a}.log") for a in ADDRESSES]
    try:
        try:
            lay_cable(pair)
        except subprocess.CalledProcessError as error:
            reason = f"`{' '.join(error.cmd)}` failed: {error.stderr.strip()}"
            pytest.skip(f"no network namespaces can be made here: {reason}")
        yield pair
    finally:
        for host in pair:
            if Path("/var/run/netns", host.name).exists():
                host.lose()
                ip("netns", "delete", host.name)  # its end of the cable goes with it


def lay_cable(pair: list[Host]) -> None:
    for host in pair:
        ip("netns", "add", host.name)
        ip("netns", "exec", host.name, "true")
    one, other = (["eth0", "netns", host.name] for host in pair)
    ip("link", "add", *one, "type", "veth", "peer", "name", *other)
    for host in pair:
        ip("-n", host.name, "address", "add", f"{host.address}/24", "dev", "eth0")
        ip("-n", host.name, "link", "set", "eth0", "up")
        ip("-n", host.name, "link", "set", "lo", "up")


def torchrun(
    training: TrainingConfig, folder: Path, pauses: dict[str, Path], *options: str
) -> list[str]:
    command, config = folder / "command.py", folder / f"{training.out.name}.pickle"
    command.write_text(COMMAND)
    config.write_bytes(pickle.dumps((training, pauses)))
    launcher = [sys.executable, "-m", "torch.distributed.run", f"--log-dir={folder / 'torchrun'}"]
    return [*launcher, *options, str(command), str(config)]


def train_undisturbed(training: TrainingConfig, folder: Path) -> None:
    """Train in two processes of this machine."""
    command = torchrun(training, folder, {}, "--standalone", "--nproc-per-node=2")
    environment = os.environ | ENVIRONMENT | {"GLOO_SOCKET_IFNAME": "lo", "TP_SOCKET_IFNAME": "lo"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


def start(host: Host, training: TrainingConfig, pauses: dict[str, Path]) -> None:
    """Start an agent and its one worker; they wait for those of the other host."""
    options = [
        "--nnodes=2",
        "--nproc-per-node=1",
        "--max-restarts=3",
        "--rdzv-backend=c10d",
        f"--rdzv-endpoint={ADDRESSES[0]}:29400",
        f"--rdzv-conf=is_host={int(host.address == ADDRESSES[0])},keep_alive_interval=1",
        f"--local-addr={host.address}",
        "--monitor-interval=0.1",
    ]
    host.start(torchrun(training, host.log.parent, pauses, *options))


def wait_until(happened: Callable[[], bool], what: str, hosts: list[Host]) -> None:
    deadline = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < deadline, f"{what} has not come\n{logs(hosts)}"
        time.sleep(0.01)


def wait_for_state(training: TrainingConfig, beyond: str, hosts: list[Host]) -> None:
    def written() -> bool:
        return any(found.name >= beyond for found in RunFolder(training.run_folder).states())

    wait_until(written, beyond, hosts)


def logs(hosts: list[Host]) -> str:
    return "\n".join(f"{host.log.name}:\n{host.log.read_text()}" for host in hosts)


def figures(training: TrainingConfig) -> list[dict[str, Any]]:
    lines = (training.run_folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) | {"seconds": 0} for line in lines]


def digest(training: TrainingConfig) -> str:
    return hashlib.sha256((training.out / "model.safetensors").read_bytes()).hexdigest()


@pytest.mark.slow
def test_a_lost_host_comes_back_and_the_training_ends_as_if_nothing_had_been(
    hosts: list[Host], training: TrainingConfig, tmp_path: Path
) -> None:
    """Later the worker that writes is killed too, and starts again under the same agent."""
    undisturbed = dataclasses.replace(training, out=tmp_path / "calm", run=tmp_path / "calm-run")
    train_undisturbed(undisturbed, tmp_path)

    first, second = hosts
    one, other = "state-0-0002-000001.pt", "state-1-0001-000001.pt"
    pauses = {one: tmp_path / "second-is-lost", other: tmp_path / "worker-is-killed"}
    for host in hosts:
        start(host, training, pauses)
    wait_for_state(training, one, hosts)
    second.lose()
    assert first.agents[0].poll() is None, logs(hosts)
    half = RunFolder(training.run_folder).states()[-1].read_bytes()[:1000]
    unfinished = training.run_folder / ".state-1-0002-000002.pt.new"  # newer than all others
    unfinished.write_bytes(half)
    pauses[one].touch()
    start(second, training, pauses)

    wait_for_state(training, other, hosts)
    first.kill_worker()
    pauses[other].touch()
    assert not training.out.exists()

    agents = [host.agents[-1] for host in hosts]
    wait_until(lambda: all(a.poll() is not None for a in agents), "the end", hosts)
    assert [agent.returncode for agent in agents] == [0, 0], logs(hosts)
    assert first.log.read_text().count("resuming: ") >= 2, logs(hosts)
    assert digest(training) == digest(undisturbed)
    assert figures(training) == figures(undisturbed)
    assert not unfinished.exists()  # it has been written anew, and whole
