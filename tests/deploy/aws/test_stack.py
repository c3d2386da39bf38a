"""The stack that moto makes of the AWS template; moto imitates AWS."""

from __future__ import annotations

import ast
import base64
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from tests.deploy.aws.deployment import ARGUMENTS, FOLDER, REGION, module
from tests.deploy.linters import shellcheck

metrics = module("metrics")


@pytest.fixture
def stack(rendered: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """A function that returns clients of moto's AWS, where the stack has been created.

    moto's CloudFormation makes no alarms and leaves out egress rules, attributes of load balancers
    and target groups, and managed policies; the tests above look at those in the template. Of AMIs
    it knows the parameters of plain Amazon Linux only.
    """
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    text = (rendered / "template.yaml").read_text()
    amazon_linux = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
    text = re.sub(r"Default: /aws/service/deeplearning/\S+", f"Default: {amazon_linux}", text)
    values = json.loads((rendered / "parameters.json").read_text())
    given = {each["ParameterKey"]: each["ParameterValue"] for each in values}
    given["AmiId"] = amazon_linux
    with mock_aws():

        def client(service: str) -> Any:
            return boto3.client(service, region_name=REGION)

        ec2 = client("ec2")
        given["VpcId"] = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        subnets = [
            ec2.create_subnet(
                VpcId=given["VpcId"],
                CidrBlock=f"10.0.{i}.0/24",
                AvailabilityZone=f"{REGION}{'ab'[i % 2]}",
            )["Subnet"]["SubnetId"]
            for i in range(4)
        ]
        given["PublicSubnets"], given["PrivateSubnets"] = (
            ",".join(subnets[:2]),
            ",".join(subnets[2:]),
        )
        certificate = client("acm").request_certificate(DomainName="captions.example.com")
        given["CertificateArn"] = certificate["CertificateArn"]
        client("cloudformation").create_stack(
            StackName=ARGUMENTS["stack"],
            TemplateBody=text,
            Parameters=[{"ParameterKey": k, "ParameterValue": v} for k, v in given.items()],
            Capabilities=["CAPABILITY_IAM"],
        )
        yield client


def launch_data(client: Callable[[str], Any]) -> dict[str, Any]:
    """Return the data of the only launch template."""
    ec2 = client("ec2")
    (found,) = ec2.describe_launch_templates()["LaunchTemplates"]
    versions = ec2.describe_launch_template_versions(LaunchTemplateId=found["LaunchTemplateId"])
    data: dict[str, Any] = versions["LaunchTemplateVersions"][0]["LaunchTemplateData"]
    return data


unsupported = pytest.mark.filterwarnings("ignore:Tried to parse AWS..CloudWatch..Alarm:UserWarning")


@pytest.mark.slow
@unsupported
def test_the_stack_comes_up(stack: Callable[[str], Any]) -> None:
    (made,) = stack("cloudformation").describe_stacks()["Stacks"]
    assert made["StackStatus"] == "CREATE_COMPLETE"
    (group,) = stack("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    assert (group["MinSize"], group["MaxSize"]) == (1, 2)
    elb = stack("elbv2")
    (target,) = elb.describe_target_groups()["TargetGroups"]
    assert group["TargetGroupARNs"] == [target["TargetGroupArn"]]
    probe = (target["HealthCheckProtocol"], target["HealthCheckPort"], target["HealthCheckPath"])
    assert probe == ("HTTP", "8079", "/ready")
    assert (target["Protocol"], target["Port"]) == ("HTTP", 8080)
    (balancer,) = elb.describe_load_balancers()["LoadBalancers"]
    public = {zone["SubnetId"] for zone in balancer["AvailabilityZones"]}
    assert not public & set(group["VPCZoneIdentifier"].split(","))


@unsupported
def test_instances_guard_their_credentials_and_their_disk(stack: Callable[[str], Any]) -> None:
    data = launch_data(stack)
    assert data["MetadataOptions"]["HttpTokens"] == "required"
    assert data["MetadataOptions"]["HttpPutResponseHopLimit"] == 1
    for device in data["BlockDeviceMappings"]:
        assert device["Ebs"]["Encrypted"] is True
        assert device["Ebs"]["VolumeType"] == "gp3"
    (interface,) = data["NetworkInterfaces"]
    assert interface["AssociatePublicIpAddress"] is False
    assert "KeyName" not in data


@unsupported
def test_an_instance_may_do_what_it_needs_and_no_more(
    stack: Callable[[str], Any], rendered: Path, template: dict[str, Any]
) -> None:
    iam = stack("iam")
    (role,) = iam.list_roles()["Roles"]
    policy = iam.get_role_policy(RoleName=role["RoleName"], PolicyName="captioner")
    allowed = {}
    document = ast.literal_eval(policy["PolicyDocument"])  # moto returns it as Python
    for statement in document["Statement"]:
        assert statement["Effect"] == "Allow"
        actions = statement["Action"]
        for action in [actions] if isinstance(actions, str) else actions:
            allowed[action] = (statement["Resource"], statement.get("Condition"))
    values = json.loads((rendered / "parameters.json").read_text())
    key = next(v["ParameterValue"] for v in values if v["ParameterKey"] == "ArchiveKey")
    (logs,) = stack("logs").describe_log_groups()["logGroups"]
    repository = (f"arn:aws:ecr:{REGION}:123456789012:repository/team/captioner", None)
    log_group = (logs["arn"].removesuffix(":*"), None)
    assert allowed == {
        "s3:GetObject": (f"arn:aws:s3:::example-captioner/{key}", None),
        "ecr:BatchCheckLayerAvailability": repository,
        "ecr:BatchGetImage": repository,
        "ecr:GetDownloadUrlForLayer": repository,
        "logs:CreateLogStream": log_group,
        "logs:PutLogEvents": log_group,
        # The last three actions have no resources.
        "ecr:GetAuthorizationToken": ("*", None),
        "elasticloadbalancing:DescribeTargetHealth": ("*", None),
        "cloudwatch:PutMetricData": (
            "*",
            {"StringEquals": {"cloudwatch:namespace": metrics.NAMESPACE}},
        ),
    }
    managed = template["Resources"]["InstanceRole"]["Properties"]["ManagedPolicyArns"]
    assert [arn["Fn::Sub"].rpartition("/")[2] for arn in managed] == [
        "AmazonSSMManagedInstanceCore"
    ]


@unsupported
def test_user_data_is_whole_and_sound(stack: Callable[[str], Any], tmp_path: Path) -> None:
    data = base64.b64decode(launch_data(stack)["UserData"])
    assert len(data) <= 16_384  # EC2 takes no more
    assert data.isascii()  # CloudFormation turns other characters into question marks
    assert data.startswith(b"#!/bin/bash\n")
    text = data.decode()
    assert "@include" not in text
    assert "${AWS::" not in text
    for name in ("ready.py", "metrics.py"):
        assert (FOLDER / name).read_text() in text
    (tmp_path / "user-data").write_text(text)
    shellcheck(tmp_path / "user-data")
    shellcheck(FOLDER / "user-data.sh")
