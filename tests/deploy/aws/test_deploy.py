"""scripts/aws-deploy, with an AWS CLI that is scripted or missing."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.aws.deployment import (
    ARGUMENTS,
    CERTIFICATE,
    FOLDER,
    IMAGE,
    REGION,
    deploy,
    load,
    write_archive,
)


def test_a_dry_run_checks_all_and_calls_nothing(tmp_path: Path) -> None:
    done = deploy(tmp_path, "--dry-run", path="/nowhere")  # where there is no aws
    assert (done.returncode, done.stderr) == (0, "")
    digest = subprocess.run(
        ["sha256sum", tmp_path / "captioner.mar"], capture_output=True, text=True, check=True
    ).stdout.split()[0]
    assert f"version 1.2, sha256 {digest}" in done.stdout
    calls = [line for line in done.stdout.splitlines() if line.startswith("aws ")]
    assert [" ".join(call.split()[1:3]) for call in calls] == ["s3 cp", "cloudformation deploy"]
    assert f"captioner.mar s3://example-captioner/captioner/{digest}.mar" in calls[0]
    assert all(f"--region {REGION}" in call for call in calls)
    values = json.loads((tmp_path / "out" / "parameters.json").read_text())
    given = {each["ParameterKey"]: each["ParameterValue"] for each in values}
    assert given["ArchiveKey"] == f"captioner/{digest}.mar"
    assert given["ArchiveSha256"] == digest
    assert given["PublicSubnets"] == "subnet-0a,subnet-0b"
    # One that is left out would keep the value of the last deployment.
    assert given.keys() == load(tmp_path / "out")["Parameters"].keys()
    assert given["InstanceType"] == "g4dn.xlarge"
    template = (tmp_path / "out" / "template.yaml").read_text()
    assert "@include" not in template.split("Parameters:")[1]


def test_arguments_can_be_kept_in_a_file(tmp_path: Path) -> None:
    lines = ["# Production", "", *(f"--{name}={value}" for name, value in ARGUMENTS.items())]
    (tmp_path / "production.args").write_text("\n".join(lines))
    nothing = dict.fromkeys(name.replace("-", "_") for name in ARGUMENTS)
    done = deploy(tmp_path, "@production.args", "--instances=3", "--dry-run", **nothing)
    assert done.returncode == 0, done.stderr
    values = json.loads((tmp_path / "out" / "parameters.json").read_text())
    assert {"ParameterKey": "MaxInstances", "ParameterValue": "4"} in values


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"stack": None}, "required: --stack"),
        ({"vpc": None}, "required: --vpc"),
        ({"stack": "my stack"}, "letters, digits and hyphens"),
        ({"vpc": "my-vpc"}, "VpcId is 'my-vpc'"),
        ({"public_subnets": "subnet-0a"}, "two zones"),
        ({"private_subnets": "subnet-0a, subnet-0b"}, "PrivateSubnets is"),
        ({"image": "captioner:latest"}, "ImageUri is 'captioner:latest'; it must be like"),
        ({"image": IMAGE.replace("@sha256:", ":")}, "ImageUri is"),
        ({"allowed_cidr": "everyone"}, "AllowedCidr is 'everyone'"),
        ({"certificate": CERTIFICATE.replace(REGION, "us-east-1")}, f"not in {REGION}"),
        ({"instance_type": "t3.micro"}, "must be one of g4dn.xlarge"),
        ({"instances": "0"}, "Instances is 0; it must be at least 1"),
        ({"instances": "many"}, "Instances is 'many'; it must be a number"),
        ({"set": "MaxInstances"}, "PARAMETER=VALUE"),
        ({"set": "Colour=blue"}, "no parameter Colour"),
        ({"archive": "none.mar"}, "none.mar is no file"),
        ({"sha256": "0" * 64}, f"not {'0' * 64}"),
        ({"colour": "blue"}, "unrecognized arguments: --colour=blue"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    tmp_path: Path, changed: dict[str, str | None], said: str
) -> None:
    done = deploy(tmp_path, "--dry-run", **changed)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("aws-deploy: ")
    assert said in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: path.write_bytes(b"no zip"), "no archive of `captioner package`"),
        (
            lambda path: write_archive(path, name="other"),
            "an archive of 'other', not of 'captioner'",
        ),
        (lambda path: write_archive(path, left_out="MAR-INF/MANIFEST.json"), "MANIFEST.json"),
        (lambda path: write_archive(path, left_out="model.safetensors"), "lacks model.safetensors"),
        (lambda path: write_archive(path, left_out="golden.json"), "lacks golden.json"),
        (lambda path: write_archive(path, left_out="model-config.yaml"), "lacks model-config.yaml"),
        (
            lambda path: write_archive(path).write_bytes(
                path.read_bytes().replace(b"weights", b"wEights", 1)
            ),
            "model.safetensors in it is damaged",
        ),
    ],
)
def test_what_is_no_captioner_archive_is_refused(
    tmp_path: Path, spoil: Callable[[Path], Any], said: str
) -> None:
    spoil(tmp_path / "captioner.mar")
    done = deploy(tmp_path, "--dry-run")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert said in line


FAKE_AWS = """\
#!{python}
# Answers as a test says: the replies to a verb in turn, the last one again and again.
import json, pathlib, sys
folder = pathlib.Path(__file__).parent
verb = sys.argv[2]
with open(folder / "calls", "a") as calls:
    print(json.dumps(sys.argv[1:]), file=calls)
replies = json.loads((folder / "replies.json").read_text())
before = sum(json.loads(line)[1] == verb for line in open(folder / "calls"))
mine = replies.get(verb, [None])
reply = mine[min(before, len(mine)) - 1]
if isinstance(reply, str):
    sys.exit(reply)
if reply is not None:
    print(json.dumps(reply))
"""


def stacks(status: str, **outputs: str) -> dict[str, Any]:
    listed = [{"OutputKey": key, "OutputValue": value} for key, value in outputs.items()]
    return {"Stacks": [{"StackStatus": status, "Outputs": listed}]}


def event(number: int, resource: str, status: str, reason: str = "") -> dict[str, str]:
    return {
        "EventId": str(number),
        "Timestamp": "2026-01-02T03:04:05.678000+00:00",
        "LogicalResourceId": resource,
        "ResourceStatus": status,
        "ResourceStatusReason": reason,
    }


BEGINNING = "UPDATE_IN_PROGRESS"
FAILED = (
    "\nFailed to create/update the stack. Run the following command\nto fetch the list of events"
    " leading up to the failure\naws cloudformation describe-stack-events --stack-name NAME"
)


@pytest.fixture
def deployed(tmp_path: Path) -> Callable[..., tuple[Any, list[list[str]]]]:
    """Deploys with an AWS CLI that is scripted; how that went and what was called."""
    commands = tmp_path / "bin"
    commands.mkdir()
    (commands / "aws").write_text(FAKE_AWS.format(python=sys.executable))
    (commands / "aws").chmod(0o755)

    def run(**replies: list[Any]) -> tuple[Any, list[list[str]]]:
        given = {verb.replace("_", "-"): reply for verb, reply in replies.items()}
        (commands / "replies.json").write_text(json.dumps(given))
        done = deploy(tmp_path, path=f"{commands}:{os.environ['PATH']}")
        assert "Traceback" not in done.stderr
        calls = (commands / "calls").read_text().splitlines()
        return done, [json.loads(call) for call in calls]

    return run


def test_a_stack_is_made_and_its_outputs_are_printed(deployed: Any, tmp_path: Path) -> None:
    done, calls = deployed(
        describe_stacks=[stacks("CREATE_COMPLETE", LoadBalancerDnsName="x.example.com")],
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [call[:2] for call in calls] == [
        ["s3", "cp"],
        ["cloudformation", "deploy"],
        ["cloudformation", "describe-stacks"],
    ]
    made = " ".join(calls[1])
    assert f"--stack-name captioner-test --region {REGION}" in made
    assert "--template-file out/template.yaml" in made
    assert "--parameter-overrides file://out/parameters.json" in made
    assert "--capabilities CAPABILITY_IAM" in made
    assert done.stdout.splitlines()[-1] == "LoadBalancerDnsName: x.example.com"


def test_the_first_failure_of_this_deployment_is_named(deployed: Any) -> None:
    failure = "Received 1 FAILURE signal(s) out of 1"
    done, _ = deployed(
        deploy=[FAILED],
        describe_stacks=[stacks("UPDATE_ROLLBACK_COMPLETE")],
        describe_stack_events=[
            {
                "StackEvents": [
                    event(9, "captioner-test", "UPDATE_ROLLBACK_COMPLETE"),
                    event(8, "LaunchTemplate", "UPDATE_FAILED", "cancelled"),
                    event(7, "Group", "UPDATE_FAILED", failure),
                    event(6, "Group", BEGINNING),
                    event(5, "captioner-test", BEGINNING, "User Initiated"),
                    event(4, "captioner-test", "UPDATE_ROLLBACK_COMPLETE"),
                    event(3, "LoadBalancer", "UPDATE_FAILED", "of the deployment before"),
                ]
            },
        ],
        describe_stack_resource=[{"StackResourceDetail": {"PhysicalResourceId": "its-logs"}}],
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "UPDATE_ROLLBACK_COMPLETE" in line
    assert line.endswith(f"first failure: Group UPDATE_FAILED {failure}")
    assert "aws logs tail its-logs" in done.stdout


def test_a_failure_before_there_is_a_log_group(deployed: Any) -> None:
    done, _ = deployed(
        deploy=[FAILED],
        describe_stacks=[stacks("ROLLBACK_COMPLETE")],
        describe_stack_events=[{"StackEvents": [event(2, "InstanceRole", "CREATE_FAILED")]}],
        describe_stack_resource=["Resource LogGroup does not exist"],
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.endswith("first failure: InstanceRole CREATE_FAILED")
    assert "aws logs" not in done.stdout


@pytest.mark.parametrize(
    ("replies", "said"),
    [
        ({"cp": ["Unable to locate credentials"]}, "aws s3 cp: Unable to locate credentials"),
        (
            {"deploy": ["An error occurred: stack is in ROLLBACK_COMPLETE state"]},
            "; delete it: aws cloudformation delete-stack",
        ),
        (
            {"deploy": ["Failed to create the changeset: Waiter\nReason: Unresolved parameter"]},
            "aws cloudformation deploy: Failed to create the changeset: Waiter Reason: Unresolved",
        ),
    ],
)
def test_what_aws_refuses_is_said_in_one_line(
    deployed: Any, replies: dict[str, list[Any]], said: str
) -> None:
    done, calls = deployed(**replies)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert said in line
    assert calls[-1][1] == next(iter(replies))


def test_the_aws_cli_may_be_missing(tmp_path: Path) -> None:
    done = deploy(tmp_path, path="/nowhere")
    assert (done.returncode, done.stderr) == (
        1,
        "aws-deploy: the AWS CLI is missing: there is no aws on the path\n",
    )


def test_the_arguments_in_the_readme_are_those_of_the_script(tmp_path: Path) -> None:
    readme = (FOLDER / "README.md").read_text()
    (lines,) = re.findall(r"^ *cat > production.args << 'END'\n(.*?)\n *END$", readme, re.M | re.S)
    (tmp_path / "production.args").write_text(lines)
    nothing = dict.fromkeys(name.replace("-", "_") for name in ARGUMENTS)
    done = deploy(tmp_path, "@production.args", "--dry-run", **nothing)
    assert done.returncode == 0, done.stderr
    links = re.findall(r"\]\(([^)#:]+)", readme)
    assert links
    assert all((FOLDER / link).exists() for link in links)
