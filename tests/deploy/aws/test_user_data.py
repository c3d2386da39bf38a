"""The user data, run with stand-ins for every command that a test must not run."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.deploy.aws.deployment import FOLDER, IMAGE, REGION, load, write_archive

ADDRESS, INSTANCE = "10.0.3.5", "i-0123456789abcdef0"


FAKE = """\
#!/bin/bash
# Stands for every command of the user data that a test must not run.
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
    """Return a function that runs the user data with stand-ins, and returns their calls."""
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
    """Return the signals that CloudFormation was sent."""
    return [call.split("--success ")[1] for call in calls if call.startswith("cfn-signal")]


def logged(calls: list[str]) -> str:
    """Return the message that was sent to the log group."""
    (call,) = [call for call in calls if call.startswith("aws logs put-log-events")]
    (event,) = json.loads(call.partition("--log-events ")[2])
    return str(event["message"])


def test_success_is_signalled_last(start: Callable[..., list[str]], tmp_path: Path) -> None:
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
    assert logged(calls) == f"{INSTANCE} could not verify the sha256 of the archive"
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
def test_a_failed_step_is_signalled_and_logged(
    start: Callable[..., list[str]], changed: dict[str, str], reason: str
) -> None:
    calls = start(succeeds=False, **changed)
    assert signals(calls) == ["false"]
    assert logged(calls) == f"{INSTANCE} could not {reason}"


def test_services_start_the_programs_with_options_that_they_have(
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
def test_programs_run_with_the_python_of_the_ami(name: str) -> None:
    """Amazon Linux 2023's python3 is 3.9, and nothing is installed for them."""
    tree = ast.parse((FOLDER / name).read_text(), feature_version=(3, 9))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = (
                [node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
            )
            assert {str(n).split(".")[0] for n in names} <= {*sys.stdlib_module_names, "__future__"}
