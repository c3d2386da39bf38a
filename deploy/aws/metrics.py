"""Sends to CloudWatch how busy the GPU is and how long requests waited, once each time it runs.

The server counts the time that requests spent in its queue, and the requests it answered. The
increase of both since the last run gives the mean wait; a file keeps the counts. Needs Python 3.9,
nvidia-smi, the AWS CLI and nothing that must be installed: hence urllib, not requests.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

NAMESPACE = "Captioner"  # the role may publish in no other
WAITED, ANSWERED = "ts_queue_latency_microseconds", "captioner_requests_total"
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
Values = dict[str, tuple[float, str]]  # by name: value and unit


def gpu() -> Values:
    """Return how much of the time the GPUs computed and how much of their memory is used."""
    command = ["nvidia-smi", "--query-gpu=utilization.gpu,memory.used,memory.total"]
    command.append("--format=csv,noheader,nounits")
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=20)
    rows = [[float(cell) for cell in line.split(b",")] for line in done.stdout.splitlines()]
    busy = sum(row[0] for row in rows) / len(rows)
    taken = 100 * sum(row[1] for row in rows) / sum(row[2] for row in rows)
    return {"GPUUtilization": (busy, "Percent"), "GPUMemoryUtilization": (taken, "Percent")}


def total(metrics: str, name: str) -> float:
    """Return a counter's sum over all labels, from Prometheus' text format."""
    return sum(float(value) for value in re.findall(rf"^{name}(?:\{{.*\}})? (\S+)", metrics, re.M))


def queue(metrics: str, state: Path) -> Values:
    """Return the mean milliseconds in the queue of the requests answered since the last run.

    Empty if there were none. Counts below the kept ones mean that the server started again, at 0.
    """
    waited, answered = total(metrics, WAITED), total(metrics, ANSWERED)
    try:
        before_waited, before_answered = json.loads(state.read_text())
    except (OSError, ValueError):
        before_waited, before_answered = 0.0, 0.0
    if waited < before_waited or answered < before_answered:
        before_waited, before_answered = 0.0, 0.0
    state.write_text(json.dumps([waited, answered]))
    if answered == before_answered:
        return {}
    mean = (waited - before_waited) / (answered - before_answered) / 1000
    return {"QueueTime": (mean, "Milliseconds")}


def publish(values: Values, stack: str) -> None:
    dimensions = [{"Name": "Stack", "Value": stack}]
    data: list[dict[str, Any]] = [
        {"MetricName": name, "Dimensions": dimensions, "Value": value, "Unit": unit}
        for name, (value, unit) in values.items()
    ]
    command = ["aws", "cloudwatch", "put-metric-data", "--namespace", NAMESPACE]
    subprocess.run([*command, "--metric-data", json.dumps(data)], check=True, timeout=60)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--stack", required=True, help="dimension of the metrics")
    parser.add_argument("--state", required=True, type=Path, help="file that keeps the counts")
    parser.add_argument("--metrics", default="http://127.0.0.1:8082/metrics", metavar="URL")
    options = parser.parse_args()
    if "@" in options.metrics:  # errors would show it
        parser.error("a URL may hold no password")
    values: Values = {}
    failed = False
    try:
        values.update(gpu())
    except (OSError, subprocess.SubprocessError, ValueError, ArithmeticError, LookupError) as error:
        failed = True
        print(f"GPU: {error}", file=sys.stderr)
    try:
        with DIRECT.open(options.metrics, timeout=10) as reply:
            values.update(queue(reply.read().decode(), options.state))
    except (OSError, ValueError) as error:
        failed = True
        print(f"queue: {error}", file=sys.stderr)
    if values:
        publish(values, options.stack)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
