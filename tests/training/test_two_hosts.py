"""Training on two hosts, one of which is lost: two network namespaces with a cable between them."""

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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from training import state
from training.config import NetworkOptions, StageOptions, TrainingConfig
from training.prepare import prepare

ROOT = Path(__file__).resolve().parents[2]

# Ranks follow their order: the first host's worker writes. Its agent holds the rendezvous.
ADDRESSES = ("10.77.0.1", "10.77.0.2")

AGENT = {
    "GLOO_SOCKET_IFNAME": "eth0",
    "TP_SOCKET_IFNAME": "eth0",
    # Shared, the store's address is told in the first round only: a host that comes later waits
    # for it in vain.
    "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
}

COMMAND = """
import logging, pickle, sys, time, torch
from pathlib import Path
torch.set_num_threads(1)
from training import engine, train as module
logging.basicConfig(level=logging.INFO)
training, wait = pickle.loads(Path(sys.argv[1]).read_bytes())
forward = engine.TrainingStep.forward
def slow(*arguments):
    time.sleep(wait)
    return forward(*arguments)
engine.TrainingStep.forward = slow
module.train(training, resume=True)
"""


@dataclass
class Host:
    """A network namespace; a process in it sees nothing but the cable to the other host."""

    name: str
    address: str
    agents: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, *command: str | Path, log: Path) -> None:
        with log.open("ab") as file:
            agent = subprocess.Popen(
                ["ip", "netns", "exec", self.name, *command],
                cwd=log.parent,
                env=environment(**AGENT),
                stdout=file,
                stderr=file,
            )
        self.agents.append(agent)

    def processes(self) -> set[int]:
        """Everything that runs here: the agent and, in a session of its own, its worker."""
        return {int(number) for number in ip("netns", "pids", self.name).split()}

    def kill_worker(self) -> None:
        kill(self.processes() - {self.agents[-1].pid})

    def lose(self) -> None:
        """SIGKILL everything that runs here."""
        deadline = time.monotonic() + 20
        while found := self.processes():
            assert time.monotonic() < deadline, f"{found} outlive SIGKILL"
            kill(found)
            for agent in self.agents:
                agent.poll()  # no zombies
            time.sleep(0.05)


def kill(processes: set[int]) -> None:
    for process in processes:
        try:
            os.kill(process, signal.SIGKILL)
        except ProcessLookupError:
            continue


def ip(*arguments: str) -> str:
    done = subprocess.run(
        ["ip", *arguments], check=True, capture_output=True, text=True, timeout=20
    )
    return done.stdout


def environment(**more: str) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | more


@pytest.fixture
def hosts() -> Iterator[list[Host]]:
    if shutil.which("ip") is None:
        pytest.skip("no `ip` here to make network namespaces with: install iproute2")
    unique = f"captioner-{uuid.uuid4().hex[:8]}"
    pair = [Host(f"{unique}-{i}", address) for i, address in enumerate(ADDRESSES)]
    try:
        try:
            _connect(pair)
        except subprocess.CalledProcessError as error:
            command = " ".join(error.cmd)
            pytest.skip(f"no network namespaces here: `{command}` says: {error.stderr.strip()}")
        yield pair
    finally:
        for host in pair:
            if Path("/run/netns", host.name).exists():
                host.lose()
                ip("netns", "delete", host.name)  # the cable goes with it


def _connect(pair: list[Host]) -> None:
    for host in pair:
        ip("netns", "add", host.name)
    ends = [["eth0", "netns", host.name] for host in pair]
    ip("link", "add", *ends[0], "type", "veth", "peer", "name", *ends[1])
    for host in pair:
        ip("-n", host.name, "address", "add", f"{host.address}/24", "dev", "eth0")
        ip("-n", host.name, "link", "set", "eth0", "up")
        ip("-n", host.name, "link", "set", "lo", "up")
        ip("netns", "exec", host.name, "true")


@pytest.fixture
def training(dataset: Path, tmp_path: Path) -> TrainingConfig:
    prepare(dataset, tmp_path / "data", 64)
    stage = StageOptions(epochs=2, warm_up=0.0, learning_rate=0.01)
    return TrainingConfig(
        data=tmp_path / "data",
        out=tmp_path / "out",
        run=tmp_path / "run",
        network=NetworkOptions(
            encoder="timm/test_efficientnet",
            encoder_weights="none",
            image_size=64,
            encoded_size=0,
            attention_size=8,
            embedding_size=8,
            hidden_size=8,
            dropout=0.3,
        ),
        decoder=stage,
        fine_tune=dataclasses.replace(stage, augment=True),
        minimum_count=1,
        batch_size=2,
        ema_decay=0.5,
        device="cpu",
        precision="fp32",
        save_minutes=0.0,  # a state after every batch
    )


def wait_until(happened: Callable[[], object], seconds: float, what: str, logs: list[Path]) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        said = "\n".join(log.read_text() for log in logs)
        assert time.monotonic() < deadline, f"{what} did not come in {seconds} s\n{said}"
        time.sleep(0.01)


def figures(training: TrainingConfig) -> list[dict[str, Any]]:
    lines = (training.run_folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) | {"seconds": 0} for line in lines]


def digest(training: TrainingConfig) -> str:
    return hashlib.sha256((training.out / "model.safetensors").read_bytes()).hexdigest()


def command(folder: Path, training: TrainingConfig, wait: float, *options: str) -> list[str]:
    (folder / "command.py").write_text(COMMAND)
    config = folder / f"{training.out.name}.pickle"
    config.write_bytes(pickle.dumps((training, wait)))
    torchrun = [sys.executable, "-m", "torch.distributed.run", *options]
    return [*torchrun, str(folder / "command.py"), str(config)]


def test_a_host_is_lost_and_comes_back(
    hosts: list[Host], training: TrainingConfig, tmp_path: Path
) -> None:
    """And later the worker that writes is killed; it ends as two processes left in peace do."""
    t0 = time.monotonic()
    calm = dataclasses.replace(training, out=tmp_path / "calm", run=tmp_path / "calm-run")
    options = ["--standalone", "--nproc-per-node", "2"]
    alone = subprocess.run(
        command(tmp_path, calm, 0.0, *options),
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert alone.returncode == 0, alone.stderr
    print("calm", time.monotonic() - t0)

    def start(host: Host) -> None:
        first = host is hosts[0]
        options = [
            "--nnodes=2",
            "--nproc-per-node=1",
            "--max-restarts=3",
            "--monitor-interval=0.1",
            "--rdzv-backend=c10d",
            f"--rdzv-endpoint={ADDRESSES[0]}:29400",
            f"--rdzv-conf=is_host={int(first)},keep_alive_interval=1",
            f"--local-addr={host.address}",
        ]
        host.start(*command(tmp_path, training, 0.2, *options), log=logs[hosts.index(host)])

    def has(moment: str) -> Callable[[], object]:
        return lambda: any(p.name >= moment for p in state.states(training.run_folder))

    logs = [tmp_path / "0.log", tmp_path / "1.log"]
    for host in hosts:
        start(host)
    wait_until(has("state-0-0002-000001.pt"), 120, "the first epoch", logs)
    hosts[1].lose()
    assert hosts[0].agents[-1].poll() is None
    print("lost", time.monotonic() - t0)
    start(hosts[1])
    wait_until(has("state-1-0001-000001.pt"), 120, "the second stage", logs)
    print("killing worker", time.monotonic() - t0)
    hosts[0].kill_worker()
    agents = [host.agents[-1] for host in hosts]
    wait_until(lambda: all(a.poll() is not None for a in agents), 120, "the end", logs)
    print("end", time.monotonic() - t0)
    said = [log.read_text() for log in logs]
    print(*said, sep="\n------\n")
    assert [agent.returncode for agent in agents] == [0, 0], said
    assert digest(training) == digest(calm)
    assert figures(training) == figures(calm)
