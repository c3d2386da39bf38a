"""The metrics that an instance sends to CloudWatch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.aws.deployment import FOLDER


def exposed(waited: float, answered: int) -> bytes:
    """Return a part of TorchServe's metrics: microseconds waited and requests answered."""
    labels = 'model_name="captioner",hostname="a b"'
    return (
        "# HELP ts_queue_latency_microseconds Torchserve prometheus counter metric\n"
        "# TYPE ts_queue_latency_microseconds counter\n"
        f'ts_queue_latency_microseconds{{model_version="default",{labels},}} {waited - 500}\n'
        f'ts_queue_latency_microseconds{{model_version="1.0",{labels},}} 5.0E2\n'
        f'captioner_requests_total{{Outcome="ok",{labels},}} {answered - 1}.0\n'
        f'captioner_requests_total{{Outcome="invalid_image",{labels},}} 1.0\n'
        f'captioner_requests_total_created{{Outcome="ok",{labels},}} 1.7E9\n'
    ).encode()


@pytest.fixture
def publish(tmp_path: Path, scripted: Any) -> Callable[..., tuple[int, dict[str, Any]]]:
    """Return a function that runs the program, and returns its status and published values."""
    commands = tmp_path / "bin"
    commands.mkdir()
    sent = tmp_path / "sent"
    programs = {
        "nvidia-smi": '[ -n "$GPU" ] && printf "$GPU"',
        "aws": 'printf "%s\\n" "$@" > "$SENT"',
    }
    for name, line in programs.items():
        (commands / name).write_text(f"#!/bin/sh\n{line}\n")
        (commands / name).chmod(0o755)

    def run(gpu: str = "40, 2000, 16000\\n60, 4000, 16000\\n") -> tuple[int, dict[str, Any]]:
        sent.unlink(missing_ok=True)
        path = f"{commands}:{os.environ['PATH']}"
        arguments = ["--stack", "captioner-test", "--state", str(tmp_path / "counts")]
        arguments += ["--metrics", f"{scripted.url}/metrics"]
        done = subprocess.run(
            [sys.executable, FOLDER / "metrics.py", *arguments],
            env=os.environ | {"PATH": path, "GPU": gpu, "SENT": str(sent)},
            capture_output=True,
            text=True,
        )
        assert "Traceback" not in done.stderr
        if not sent.exists():
            return done.returncode, {}
        arguments = sent.read_text().splitlines()
        assert arguments[:4] == ["cloudwatch", "put-metric-data", "--namespace", "Captioner"]
        data = json.loads(arguments[5])
        for each in data:
            assert each["Dimensions"] == [{"Name": "Stack", "Value": "captioner-test"}]
        return done.returncode, {each["MetricName"]: each["Value"] for each in data}

    return run


def test_the_mean_wait_is_that_of_requests_since_the_last_run(publish: Any, scripted: Any) -> None:
    scripted.answer = lambda asked: (200, exposed(waited=20_000, answered=10))
    assert publish() == (
        0,
        {"GPUUtilization": 50.0, "GPUMemoryUtilization": 18.75, "QueueTime": 2.0},
    )
    scripted.answer = lambda asked: (200, exposed(waited=620_000, answered=12))
    assert publish()[1]["QueueTime"] == 300.0
    assert "QueueTime" not in publish()[1]  # nothing was answered since


def test_counts_of_a_restarted_server_begin_at_zero(publish: Any, scripted: Any) -> None:
    scripted.answer = lambda asked: (200, exposed(waited=9_000_000, answered=1000))
    publish()
    scripted.answer = lambda asked: (200, exposed(waited=8_000, answered=4))
    assert publish()[1]["QueueTime"] == 2.0


def test_one_source_is_published_when_the_other_fails(publish: Any, scripted: Any) -> None:
    scripted.answer = lambda asked: (200, exposed(waited=2_000, answered=2))
    assert publish(gpu="") == (1, {"QueueTime": 1.0})
    assert publish(gpu="[N/A], 1, 2\\n") == (1, {})
    scripted.answer = lambda asked: (503, b"")
    status, values = publish()
    assert status == 1
    assert values.keys() == {"GPUUtilization", "GPUMemoryUtilization"}
