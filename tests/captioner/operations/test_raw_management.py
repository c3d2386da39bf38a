"""Calls of TorchServe's own management API between our commands, and deploys that are killed."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from captioner.operations.deploy import deploy, rollback, undeploy
from captioner.operations.store import DEPLOY_LOCK, RECORD_FILE, SERVER_LOCK
from captioner.operations.versions import versions_table
from captioner.paths import ROOT
from tests.captioner.operations.archives import with_config, with_handler
from tests.captioner.operations.servers import Site, run

pytestmark = pytest.mark.slow


def call(site: Site, method: str, path: str) -> Any:
    """Call TorchServe's management API."""
    reply = requests.request(method, f"{site.management}/models{path}", timeout=120)
    assert reply.ok, reply.text
    return reply.json()


def ready(site: Site, version: str) -> int:
    """Return the number of a version's workers once all are ready; a start waits for one only."""
    deadline = time.monotonic() + 120
    while True:
        (description,) = call(site, "GET", f"/captioner/{version}")
        states = [worker["status"] for worker in description["workers"]]
        if states == ["READY"] * description["minWorkers"]:
            return len(states)
        assert time.monotonic() < deadline, states
        time.sleep(0.2)


def test_raw_calls_and_ours_live_together(fresh: Site, tmp_path: Path) -> None:
    target = fresh.target
    # The operator says how many workers: of a raw registration, too.
    shutil.copy(fresh.archive("2.0"), target.model_store / "captioner-2.0.mar")
    call(fresh, "POST", "?url=captioner-2.0.mar&initial_workers=3&synchronous=true")
    assert ready(fresh, "2.0") == 3
    call(fresh, "PUT", "/captioner/2.0/set-default")
    assert "not recorded yet: version 2.0, that version 2.0 is the default" in versions_table(
        target
    )
    assert str(rollback(target)) == (
        "version 1.0 is the default (2.0 is kept; another rollback rolls forward to it)"
    )
    assert str(rollback(target)) == (
        "version 2.0 is the default again (rolled forward; 1.0 is kept for the next rollback)"
    )
    assert "not recorded" not in versions_table(target)

    # What was changed is what a restart serves.
    call(fresh, "PUT", "/captioner/2.0?min_worker=2&max_worker=2&synchronous=true")
    assert "changed by others: version 2.0 has 2 workers" in fresh.stop()
    fresh.start()
    assert fresh.served() == ("2.0", ["1.0", "2.0"])
    assert ready(fresh, "2.0") == 2

    # The version for a rollback is taken away, and an archive names workers of its own.
    call(fresh, "DELETE", "/captioner/1.0")
    archive = with_config(
        fresh.archive("3.0"), tmp_path / "old" / "captioner.mar", minWorkers=1, maxWorkers=1
    )
    done = run("deploy", archive, "--workers", 2, *fresh.options)
    assert done.returncode == 0, done.stderr
    assert "changed by others: version 1.0 is not served any more" in done.stderr
    assert "stays" not in done.stderr
    assert fresh.served() == ("3.0", ["2.0", "3.0"])
    assert ready(fresh, "3.0") == 2
    fresh.stop()
    fresh.start()
    assert fresh.served() == ("3.0", ["2.0", "3.0"])
    assert (ready(fresh, "2.0"), ready(fresh, "3.0")) == (2, 2)

    assert run("undeploy", "2.0", *fresh.options).stdout == "version 2.0 is removed\n"
    assert fresh.served() == ("3.0", ["3.0"])
    assert not (target.model_store / "captioner-2.0.mar").exists()
    with pytest.raises(ValueError, match=r"3\.0 is the default; make another one that first"):
        undeploy("3.0", target)
    with pytest.raises(ValueError, match=r"no version 2\.0 is served"):
        undeploy("2.0", target)

    # Nothing is served: what starts it again is said.
    call(fresh, "DELETE", "/captioner/3.0")
    with pytest.raises(ValueError, match="scripts/serve --stop, then scripts/serve --detach"):
        deploy(fresh.archive("2.0"), target)
    fresh.stop()
    fresh.start()
    assert fresh.served() == ("3.0", ["3.0"])


KILLED = """
import os, signal, sys
from pathlib import Path
from captioner.operations import deploy
from captioner.operations.store import Store
from captioner.operations.target import ServerTarget

owner = deploy if hasattr(deploy, sys.argv[1]) else Store
setattr(owner, sys.argv[1], lambda *_: os.kill(os.getpid(), signal.SIGKILL))
target = ServerTarget(sys.argv[3], sys.argv[4], Path(sys.argv[5]))
deploy.deploy(Path(sys.argv[2]), target)
"""


def kill_deploy(site: Site, moment: str) -> None:
    """Deploy version 2.0, killed as it comes to that."""
    target = site.target
    arguments = [moment, site.archive("2.0"), target.url, target.management_url, target.model_store]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, *map(str, arguments)], cwd=ROOT, check=False, timeout=240
    )
    assert done.returncode == -9


def test_a_deploy_that_is_killed(fresh: Site) -> None:
    stored = fresh.stored()
    kill_deploy(fresh, "_ask_golden")
    assert fresh.served() == ("1.0", ["1.0", "2.0"])
    table = versions_table(fresh.target)
    assert "2.0      unfinished" in table
    assert "captioner undeploy 2.0 removes it" in table
    undeploy("2.0", fresh.target)
    assert (fresh.served(), fresh.stored()) == (("1.0", ["1.0"]), stored)

    # The next start does not load it, and clears what it left in the store.
    kill_deploy(fresh, "_ask_golden")
    fresh.stop()
    fresh.start()
    assert fresh.served() == ("1.0", ["1.0"])
    assert {path.name for path in fresh.store.iterdir()} == {
        *("captioner-1.0.mar", RECORD_FILE, DEPLOY_LOCK, SERVER_LOCK)
    }

    # The next deploy clears it, too.
    kill_deploy(fresh, "_ask_golden")
    deploy(fresh.archive("2.0"), fresh.target)
    assert fresh.served() == ("2.0", ["1.0", "2.0"])


def test_killed_between_the_switch_and_the_record(fresh: Site) -> None:
    """Callers have had the new version: it stays."""
    kill_deploy(fresh, "write_record")
    assert fresh.served() == ("2.0", ["1.0", "2.0"])
    assert rollback(fresh.target).default == "1.0"
    assert rollback(fresh.target).default == "2.0"
    assert "unfinished" not in versions_table(fresh.target)
    fresh.stop()
    fresh.start()
    assert fresh.served() == ("2.0", ["1.0", "2.0"])


# Keeps requests of KServe's form until a file appears, and leaves a file for each that it took.
WAITING_HANDLER = """
import os
import time
from pathlib import Path
from shipped_handler import CaptionerHandler as ShippedHandler

class CaptionerHandler(ShippedHandler):
    def handle(self, data, context):
        if any(b'"instances"' in bytes(fields.get("body") or b"") for fields in data):
            Path({taken!r}, str(os.getpid())).touch()
            while not os.path.exists({go!r}):
                time.sleep(0.05)
        return super().handle(data, context)
"""


def wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_requests_in_the_hands_of_workers_are_answered_before_their_version_goes(
    fresh: Site, tmp_path: Path, render: Any
) -> None:
    """Two workers have a request of 32 photos each when their version is to be removed."""
    go, taken = tmp_path / "go", tmp_path / "taken"
    taken.mkdir()
    waiting = with_handler(
        with_config(fresh.archive("2.0"), tmp_path / "patient" / "x.mar", responseTimeout=600),
        tmp_path / "waiting" / "captioner.mar",
        WAITING_HANDLER.format(taken=str(taken), go=str(go)),
    )
    deploy(waiting, fresh.target, workers=2)
    photo = {"b64": base64.b64encode(render()).decode()}
    body = json.dumps({"instances": [photo] * 32})

    def ask() -> requests.Response:
        return requests.post(
            f"{fresh.inference}/v1/models/captioner:predict",
            data=body,
            headers={"Content-Type": "application/json"},
            timeout=240,
        )

    def pending() -> int:
        (version,) = call(fresh, "GET", "/captioner/2.0")
        return int(version["jobQueueStatus"]["pendingRequests"])

    with ThreadPoolExecutor(2) as pool:
        replies = []
        for count in (1, 2):  # one after the other: two at once would be one batch
            replies.append(pool.submit(ask))
            wait_until(lambda count=count: len(list(taken.iterdir())) == count)
        arguments = ["deploy", fresh.archive("3.0"), "--remove-old", *fresh.options]
        with subprocess.Popen(
            [sys.executable, "-m", "captioner", *map(str, arguments)],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        ) as deploying:
            assert deploying.stderr
            for line in deploying.stderr:
                if line.startswith("removing version 2.0"):
                    break
            wait_until(lambda: pending() > 0)  # the question that the drain asks the workers
            assert fresh.served() == ("3.0", ["2.0", "3.0"])
            go.touch()
            deploying.stderr.read()
        assert deploying.returncode == 0
        for reply in replies:
            answer = reply.result()
            assert answer.status_code == 200, answer.text
            assert len(answer.json()["predictions"]) == 32
    assert fresh.served() == ("3.0", ["3.0"])
