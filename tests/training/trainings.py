"""Helpers of the tests of whole trainings."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from training.config import TrainingConfig
from training.loop import epoch
from training.stage_options import SelfCriticalOptions, StageOptions
from training.train import TrainingStopped, train

ROOT = Path(__file__).resolve().parents[2]


def figures(training: TrainingConfig) -> list[dict[str, Any]]:
    lines = (training.run_folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def digest(training: TrainingConfig) -> str:
    return hashlib.sha256((training.out / "model.safetensors").read_bytes()).hexdigest()


def brief(training: TrainingConfig, **changes: Any) -> TrainingConfig:
    """One epoch of the decoder alone."""
    stages: dict[str, Any] = {
        "decoder": dataclasses.replace(training.decoder, epochs=1),
        "fine_tune": StageOptions(epochs=0),
        "self_critical": SelfCriticalOptions(),
    }
    return dataclasses.replace(training, save_minutes=60.0, **stages | changes)


def train_interrupted(training: TrainingConfig) -> None:
    """Train until SIGINT, which comes before the first batch, stops the training."""
    train_one_epoch = epoch.train_one_epoch

    def interrupted(**arguments: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        train_one_epoch(**arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(epoch, "train_one_epoch", interrupted)
        with pytest.raises(TrainingStopped, match="SIGINT"):
            train(training)


# Pauses once a state is saved, until a line comes: a test can then kill it at a known moment.
COMMAND = """
import pickle, sys, torch
from pathlib import Path
torch.set_num_threads(1)
from training.loop.run_folder import RunFolder
from training.train import TrainingStopped, train
training, pause_at = pickle.loads(Path(sys.argv[1]).read_bytes())
save_state = RunFolder.save_state
def save_and_pause(folder, *arguments):
    save_state(folder, *arguments)
    if pause_at and folder.states()[-1].name >= pause_at:
        print("paused", flush=True)
        sys.stdin.readline()
RunFolder.save_state = save_and_pause
try:
    train(training, resume=True)
except TrainingStopped as stopped:
    print(stopped)
    sys.exit(128 + stopped.number)
"""


def start(
    training: TrainingConfig, folder: Path, pause_at: str = "", launcher: list[str] | None = None
) -> subprocess.Popen[str]:
    """Start a training in a process that pauses when it has saved a state of this name or later."""
    (folder / "config.pickle").write_bytes(pickle.dumps((training, pause_at)))
    (folder / "command.py").write_text(COMMAND)
    return subprocess.Popen(
        [sys.executable, *(launcher or []), str(folder / "command.py"), folder / "config.pickle"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def paused(process: subprocess.Popen[str]) -> bool:
    """Wait until the process pauses; returns False if it ends without that."""
    assert process.stdout is not None
    return process.stdout.readline() == "paused\n"


def check_two_processes_train_like_one(config: TrainingConfig, folder: Path) -> None:
    """Train alone and by two processes: in float64 without dropout, losses agree to 1e-9."""
    exact = dataclasses.replace(
        config,
        network=dataclasses.replace(config.network, dropout=0.0),
        precision="fp64",
        batch_size=4,
        fine_tune=dataclasses.replace(config.decoder, augment=True, epochs=1),
        self_critical=SelfCriticalOptions(),  # each process draws samples of its own
    )
    alone = dataclasses.replace(exact, out=folder / "one", run=folder / "one-run")
    train(alone)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    process = start(exact, folder, launcher=launcher)
    _, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    curves = [[row["loss"] for row in figures(run)] for run in (alone, exact)]
    assert curves[0] == pytest.approx(curves[1], rel=1e-9)
    assert digest(alone) == digest(exact)
