"""scripts/aws-deploy, with an AWS CLI that is scripted or missing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.aws import ARGUMENTS, CERTIFICATE, IMAGE, REGION, deploy, write_archive


def test_a_dry_run_checks_all_and_calls_nothing(tmp_path: Path) -> None:
    done = deploy(tmp_path, "--dry-run", path="/nowhere")  # where there is no aws
    assert (done.returncode, done.stderr) == (0, "")
    digest = subprocess.run(
        ["sha256sum", tmp_path / "captioner.mar"], capture_output=True, text=True, check=True
    ).stdout.split()[0]
    assert f"version 1.2, sha256 {digest}" in done.stdout
    calls = [line for line in done.stdout.splitlines() if line.startswith("aws ")]
    assert [" ".join(call.split()[1:3]) for call in calls] == [
        "s3 cp",
        "cloudformation describe-stacks",
        "cloudformation create-change-set",
        "cloudformation wait",
        "cloudformation describe-change-set",
        "cloudformation execute-change-set",
        "cloudformation describe-stack-events",
    ]
    assert f"captioner.mar s3://example-captioner/captioner/{digest}.mar" in calls[0]
    assert all(f"--region {REGION}" in call for call in calls)
    values = json.loads((tmp_path / "out" / "parameters.json").read_text())
    given = {each["ParameterKey"]: each["ParameterValue"] for each in values}
    assert given["ArchiveKey"] == f"captioner/{digest}.mar"
    assert given["ArchiveSha256"] == digest
    assert given["PublicSubnets"] == "subnet-0a,subnet-0b"
    assert (
        "@include" not in (tmp_path / "out" / "template.yaml").read_text().split("Parameters:")[1]
    )


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
        ({"certificate": CERTIFICATE.replace(REGION, "us-east-1")}, f"not of {REGION}"),
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
    told = [{"OutputKey": key, "OutputValue": value} for key, value in outputs.items()]
    return {"Stacks": [{"StackStatus": status, "Outputs": told}]}


def event(number: int, resource: str, status: str, reason: str = "") -> dict[str, str]:
    return {
        "EventId": str(number),
        "Timestamp": "2026-01-02T03:04:05.678000+00:00",
        "LogicalResourceId": resource,
        "ResourceStatus": status,
        "ResourceStatusReason": reason,
    }


CHANGE = {
    "Action": "Modify",
    "LogicalResourceId": "Group",
    "ResourceType": "AWS::AutoScaling::AutoScalingGroup",
    "Replacement": "False",
}
NO_STACK = "An error occurred (ValidationError): Stack with id captioner-test does not exist"


@pytest.fixture
def deployed(tmp_path: Path) -> Callable[..., tuple[Any, list[list[str]]]]:
    """Deploys with an AWS CLI that is scripted; how that went and what was called."""
    commands = tmp_path / "bin"
    commands.mkdir()
    (commands / "aws").write_text(FAKE_AWS.format(python=sys.executable))
    (commands / "aws").chmod(0o755)

    def run(**replies: list[Any]) -> tuple[Any, list[list[str]]]:
        given = {"describe-change-set": [{"Changes": [{"ResourceChange": CHANGE}]}]}
        given |= {verb.replace("_", "-"): reply for verb, reply in replies.items()}
        (commands / "replies.json").write_text(json.dumps(given))
        done = deploy(tmp_path, path=f"{commands}:{os.environ['PATH']}")
        assert "Traceback" not in done.stderr
        calls = (commands / "calls").read_text().splitlines()
        return done, [json.loads(call) for call in calls]

    return run


def test_a_stack_is_created(deployed: Any) -> None:
    done, calls = deployed(
        describe_stacks=[NO_STACK, stacks("CREATE_COMPLETE", LoadBalancerDnsName="x.example.com")],
        describe_stack_events=[
            {"StackEvents": [event(1, "captioner-test", "REVIEW_IN_PROGRESS")]},
            {
                "StackEvents": [
                    event(3, "captioner-test", "CREATE_COMPLETE"),
                    event(2, "Group", "CREATE_COMPLETE"),
                    event(1, "captioner-test", "REVIEW_IN_PROGRESS"),
                ]
            },
        ],
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [call[:2] for call in calls][:3] == [
        ["s3", "cp"],
        ["cloudformation", "describe-stacks"],
        ["cloudformation", "create-change-set"],
    ]
    assert calls[2][-2:] == ["--change-set-type", "CREATE"]
    shown = done.stdout.splitlines()
    assert shown[-3:] == [
        "  03:04:05 Group CREATE_COMPLETE",
        "  03:04:05 captioner-test CREATE_COMPLETE",
        "LoadBalancerDnsName: x.example.com",
    ]
    assert "  Modify Group (AWS::AutoScaling::AutoScalingGroup)" in shown


def test_a_version_that_does_not_come_up_is_a_failure(deployed: Any) -> None:
    failure = "Received 1 FAILURE signal(s) out of 1"
    done, calls = deployed(
        describe_stacks=[stacks("UPDATE_COMPLETE"), stacks("UPDATE_ROLLBACK_COMPLETE")],
        describe_stack_events=[
            {"StackEvents": []},
            {
                "StackEvents": [
                    event(9, "captioner-test", "UPDATE_ROLLBACK_COMPLETE"),
                    event(8, "LaunchTemplate", "UPDATE_FAILED", "cancelled"),
                    event(7, "Group", "UPDATE_FAILED", failure),
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
    created = next(call for call in calls if call[1] == "create-change-set")
    assert created[-1] == "UPDATE"


def test_the_same_again_changes_nothing(deployed: Any) -> None:
    reason = "The submitted information didn't contain changes."
    done, calls = deployed(
        describe_stacks=[stacks("UPDATE_COMPLETE")],
        wait=["Waiter ChangeSetCreateComplete failed"],
        describe_change_set=[{"StatusReason": reason, "Changes": []}],
    )
    assert done.returncode == 0
    assert "None: this is what the stack is." in done.stdout
    verbs = [call[1] for call in calls]
    assert verbs[-1] == "delete-change-set"
    assert "execute-change-set" not in verbs


@pytest.mark.parametrize(
    ("replies", "said"),
    [
        ({"cp": ["Unable to locate credentials"]}, "aws s3 cp: Unable to locate credentials"),
        ({"describe_stacks": [stacks("ROLLBACK_COMPLETE")]}, "delete it"),
        ({"describe_stacks": [stacks("UPDATE_IN_PROGRESS")]}, "is UPDATE_IN_PROGRESS; wait"),
        (
            {
                "describe_stacks": [NO_STACK],
                "wait": ["Waiter failed"],
                "describe_change_set": [{"StatusReason": "Unresolved parameter", "Changes": []}],
            },
            "the change set cannot be made: Unresolved parameter",
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
    assert "execute-change-set" not in [call[1] for call in calls]


def test_the_aws_cli_may_be_missing(tmp_path: Path) -> None:
    done = deploy(tmp_path, path="/nowhere")
    assert (done.returncode, done.stderr) == (
        1,
        "aws-deploy: the AWS CLI is missing: there is no aws on the path\n",
    )
