"""What runs on an instance: the user data, the ready probe and the metrics."""

from __future__ import annotations

import ast
import io
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from PIL import Image

from tests.deploy.aws import FOLDER, IMAGE, REGION, load, module, render, write_archive

ADDRESS, INSTANCE = "10.0.3.5", "i-0123456789abcdef0"

ready = module("ready")


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render(tmp_path_factory.mktemp("rendered"))


# When it starts.

FAKE = """\
#!/bin/bash
# Every command that user data runs and a test must not.
echo "$(basename "$0") $*" >> "$CALLS"
case "$(basename "$0") $*" in
    curl*/latest/api/token) echo token ;;
    curl*/instance-id) echo "$INSTANCE" ;;
    curl*/local-ipv4) echo "$ADDRESS" ;;
    curl*:8079/ready) echo "$READY" ;;
    'aws s3 cp'*) cp "$SOURCE" "${@: -1}" ;;
    'aws ecr '*) echo password ;;
    'docker login'*) cat > /dev/null ;;
    'aws elbv2 wait'*) exit "$WAIT" ;;
    nvidia-smi*) echo "$GPU" ;;
esac
"""


@pytest.fixture
def start(tmp_path: Path, rendered: Path) -> Callable[..., list[str]]:
    """Runs user data with commands that only note that they were called; what was called."""
    launch = load(rendered)["Resources"]["LaunchTemplate"]["Properties"]
    script = launch["LaunchTemplateData"]["UserData"]["Fn::Base64"]["Fn::Join"][1][1]
    (tmp_path / "user-data").write_text(script)
    commands = tmp_path / "bin"
    commands.mkdir()
    (commands / "fake").write_text(FAKE)
    (commands / "fake").chmod(0o755)
    for name in ("aws", "curl", "docker", "systemctl", "nvidia-smi", "cfn-signal", "sleep", "dnf"):
        (commands / name).symlink_to("fake")
    archive = write_archive(tmp_path / "captioner.mar")
    digest = subprocess.run(["sha256sum", archive], capture_output=True, text=True, check=True)

    def run(succeeds: bool = True, **changed: str) -> list[str]:
        environment = {
            "PATH": f"{commands}:{os.environ['PATH']}",
            "TEST_ROOT": str(tmp_path / "root"),
            "CALLS": str(tmp_path / "calls"),
            "SOURCE": str(archive),
            "INSTANCE": INSTANCE,
            "ADDRESS": ADDRESS,
            "READY": "captioned",
            "WAIT": "0",
            "GPU": "4711",
            "STACK": "captioner-test",
            "REGION": REGION,
            "ARCHIVE": "s3://example-captioner/captioner/1.mar",
            "ARCHIVE_SHA256": digest.stdout.split()[0],
            "IMAGE": IMAGE,
            "TARGET_GROUP": "arn:target",
            "LOG_GROUP": "logs",
        }
        done = subprocess.run(
            ["bash", str(tmp_path / "user-data")],
            env=environment | changed,
            capture_output=True,
            text=True,
        )
        assert (done.returncode == 0) == succeeds, done.stderr
        return (tmp_path / "calls").read_text().splitlines()

    return run


def signals(calls: list[str]) -> list[str]:
    return [call.split("--success ")[1] for call in calls if call.startswith("cfn-signal")]


def told(calls: list[str]) -> str:
    """What the log group was told."""
    (call,) = [call for call in calls if call.startswith("aws logs put-log-events")]
    (event,) = json.loads(call.partition("--log-events ")[2])
    return str(event["message"])


def test_an_instance_signals_after_all_else_was_well(
    start: Callable[..., list[str]], tmp_path: Path
) -> None:
    calls = start()
    assert signals(calls) == ["true"]
    assert calls[-1].startswith("cfn-signal --stack captioner-test --resource Group ")
    assert calls[-2].startswith("aws elbv2 wait target-in-service --target-group-arn arn:target")
    served = tmp_path / "root/opt/captioner/model-store/captioner.mar"
    assert served.read_bytes() == (tmp_path / "captioner.mar").read_bytes()
    assert served.stat().st_mode & 0o777 == 0o644  # another user's to read


def test_the_container_is_confined_and_offers_inference_only(
    start: Callable[..., list[str]],
) -> None:
    (ran,) = [call.split() for call in start() if call.startswith("docker run")]
    published = [ran[i + 1] for i, word in enumerate(ran) if word == "--publish"]
    assert sorted(published) == [
        f"{ADDRESS}:8080:8080",
        "127.0.0.1:8081:8081",
        "127.0.0.1:8082:8082",
    ]
    line = " ".join(ran)
    for words in (
        "--gpus all",
        "--read-only",
        "--tmpfs /tmp:",
        "--cap-drop ALL",
        "--security-opt no-new-privileges",
        "--restart always",
        "--memory ",
        "--pids-limit ",
        "--env CAPTIONER_MANAGEMENT=0.0.0.0:8081 --env CAPTIONER_METRICS=0.0.0.0:8082",
        "--env CAPTIONER_UNLIMITED=0.0.0.0/0",
        ",target=/model-store,readonly",
    ):
        assert words in line
    assert ran[-1] == IMAGE
    assert "--privileged" not in ran
    assert "--network" not in ran
    stop_timeout = int(ran[ran.index("--stop-timeout") + 1])
    assert stop_timeout > 30  # which the container may take to drain


def test_systemd_is_reloaded_before_a_container_has_the_gpu(
    start: Callable[..., list[str]],
) -> None:
    names = [" ".join(call.split()[:2]) for call in start()]
    assert names.index("systemctl daemon-reload") < names.index("docker run")
    assert "systemctl daemon-reload" not in names[names.index("docker run") :]


def test_a_wrong_archive_is_never_served(start: Callable[..., list[str]], tmp_path: Path) -> None:
    calls = start(succeeds=False, ARCHIVE_SHA256="0" * 64)
    assert signals(calls) == ["false"]
    assert told(calls) == f"{INSTANCE} could not verify the sha256 of the archive"
    assert not any(call.startswith("docker") for call in calls)
    assert not (tmp_path / "root/opt/captioner/model-store/captioner.mar").exists()


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"READY": "no worker is READY"}, "caption a photo: no worker is READY"),
        ({"READY": "busy: the queue is full"}, "caption a photo: busy: the queue is full"),
        ({"GPU": ""}, "find the captioner on the GPU"),
        ({"WAIT": "255"}, "become a healthy target of the load balancer"),
        ({"SOURCE": "/nowhere"}, "download the archive"),
    ],
)
def test_an_instance_that_is_not_well_says_so(
    start: Callable[..., list[str]], changed: dict[str, str], reason: str
) -> None:
    calls = start(succeeds=False, **changed)
    assert signals(calls) == ["false"]
    assert told(calls) == f"{INSTANCE} could not {reason}"


def test_services_start_programs_as_those_are_called(
    start: Callable[..., list[str]], tmp_path: Path
) -> None:
    start()
    units = tmp_path / "root/etc/systemd/system"
    for name in ("ready", "metrics"):
        unit = (units / f"captioner-{name}.service").read_text()
        (command,) = re.findall(r"^ExecStart=(.+)$", unit, re.MULTILINE)
        program, *arguments = command.split()[1:]
        assert Path(program).read_text() == (FOLDER / f"{name}.py").read_text()
        usage = subprocess.run(
            [sys.executable, program, "--help"], capture_output=True, text=True, check=True
        )
        used = {word for word in arguments if word.startswith("--")}
        assert used
        assert used <= set(re.findall(r"--[a-z]+", usage.stdout))
        assert "DynamicUser=yes" in unit


@pytest.mark.parametrize("name", ["ready.py", "metrics.py"])
def test_programs_are_python_of_the_ami(name: str) -> None:
    """Amazon Linux 2023's python3 is 3.9, and nothing is installed for them."""
    tree = ast.parse((FOLDER / name).read_text(), feature_version=(3, 9))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = (
                [node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
            )
            assert {str(n).split(".")[0] for n in names} <= {*sys.stdlib_module_names, "__future__"}


# The ready probe.

DESCRIBED = [{"modelName": "captioner", "workers": [{"status": "READY"}, {"status": "UNLOADED"}]}]


def both(management: Any, prediction: Any) -> Callable[[Any], Any]:
    return lambda asked: management if asked.method == "GET" else prediction


def probe(scripted: Any, timeout: float = 10.0) -> tuple[bool, str]:
    answer: tuple[bool, str] = ready.check(scripted.url, scripted.url, timeout)
    return answer


def test_ready_is_a_worker_and_a_caption(scripted: Any) -> None:
    scripted.answer = both((200, DESCRIBED), (200, {"caption": "a dog"}))
    assert probe(scripted) == (True, "captioned")
    described, captioned = scripted.asked
    assert (described.method, described.path) == ("GET", "/models/captioner")
    assert (captioned.method, captioned.path) == ("POST", "/predictions/captioner")
    assert Image.open(io.BytesIO(captioned.body)).size == (32, 32)


def test_the_photo_is_not_sent_where_no_worker_is_ready(scripted: Any) -> None:
    unloaded = [{"workers": [{"status": "UNLOADED"}]}]
    scripted.answer = both((200, unloaded), (200, {"caption": "a dog"}))
    assert probe(scripted) == (False, "no worker is READY")
    assert len(scripted.asked) == 1


@pytest.mark.parametrize(
    ("management", "prediction", "reason"),
    [
        ((404, {}), None, "management: HTTP Error 404"),
        ((200, b"<html>"), None, "management: describes no model"),
        ((200, []), None, "management: describes no model"),
        ((200, DESCRIBED), (500, {"code": 500}), "prediction: HTTP Error 500"),
        ((200, DESCRIBED), (507, {"code": 507}), "prediction: HTTP Error 507"),
        ((200, DESCRIBED), (200, {"error": {}}), "prediction: no caption"),
        ((200, DESCRIBED), (200, b""), "prediction: no caption"),
        ((200, DESCRIBED), None, "prediction: Remote end closed connection"),
    ],
)
def test_what_fails_is_not_ready(
    scripted: Any, management: Any, prediction: Any, reason: str
) -> None:
    scripted.answer = both(management, prediction)
    is_ready, why = probe(scripted)
    assert not is_ready
    assert why.startswith(reason)


def test_nothing_listening_is_not_ready() -> None:
    is_ready, why = ready.check("http://127.0.0.1:9", "http://127.0.0.1:9", 10.0)
    assert not is_ready
    assert why.startswith("management: ")


def test_a_full_queue_is_busy_and_not_broken(scripted: Any) -> None:
    scripted.answer = both((200, DESCRIBED), (503, {"code": 503}))
    assert probe(scripted) == (True, "busy: the queue is full")


@pytest.mark.parametrize(("waiting", "is_ready"), [(7, True), (0, False)])
def test_a_photo_may_wait_behind_others_only(scripted: Any, waiting: int, is_ready: bool) -> None:
    described = [DESCRIBED[0] | {"jobQueueStatus": {"pendingRequests": waiting}}]
    given_up = threading.Event()

    def answer(asked: Any) -> Any:
        if asked.method == "POST":
            given_up.wait(60)
            return None
        return 200, described

    scripted.answer = answer
    found, why = probe(scripted, timeout=0.5)
    given_up.set()
    assert found is is_ready
    assert why == ("busy: 7 requests wait" if is_ready else "prediction: timed out")


def test_an_answer_is_kept_for_a_while() -> None:
    clock, answers = [100.0], iter([(False, "not yet"), (True, "captioned")])
    cache = ready.Cache(lambda: next(answers), 5.0, lambda: clock[0])
    assert cache() == cache() == (False, "not yet")
    clock[0] += 5.0
    assert cache() == (True, "captioned")


@pytest.mark.parametrize(("is_ready", "status"), [(True, 200), (False, 503)])
def test_the_balancer_gets_a_status(is_ready: bool, status: int) -> None:
    server = ready.server(("127.0.0.1", 0), lambda: (is_ready, "why: \u00e9"))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{server.server_port}") as http:
            reply = http.get("/ready")
            assert (reply.status_code, reply.text) == (status, "why: ?\n")
            assert http.get("/").status_code == 404
            assert http.get("/models").status_code == 404
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


# The metrics.


def exposed(waited: float, answered: int) -> bytes:
    """As TorchServe tells it, in part; times in microseconds, over two versions and outcomes."""
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
    """Runs the program; its status and what it published, by name."""
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


def test_the_mean_wait_is_of_what_was_answered_since(publish: Any, scripted: Any) -> None:
    scripted.answer = lambda asked: (200, exposed(waited=20_000, answered=10))
    assert publish() == (
        0,
        {"GPUUtilization": 50.0, "GPUMemoryUtilization": 18.75, "QueueTime": 2.0},
    )
    scripted.answer = lambda asked: (200, exposed(waited=620_000, answered=12))
    assert publish()[1]["QueueTime"] == 300.0
    assert "QueueTime" not in publish()[1]  # nothing was answered since


def test_a_server_that_started_again_counts_from_zero(publish: Any, scripted: Any) -> None:
    scripted.answer = lambda asked: (200, exposed(waited=9_000_000, answered=1000))
    publish()
    scripted.answer = lambda asked: (200, exposed(waited=8_000, answered=4))
    assert publish()[1]["QueueTime"] == 2.0


def test_one_source_that_fails_does_not_take_the_other_along(publish: Any, scripted: Any) -> None:
    scripted.answer = lambda asked: (200, exposed(waited=2_000, answered=2))
    assert publish(gpu="") == (1, {"QueueTime": 1.0})
    assert publish(gpu="[N/A], 1, 2\\n") == (1, {})
    scripted.answer = lambda asked: (503, b"")
    status, values = publish()
    assert status == 1
    assert values.keys() == {"GPUUtilization", "GPUMemoryUtilization"}
