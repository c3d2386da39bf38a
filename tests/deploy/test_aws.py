"""The AWS template: as it is written, and as moto makes a stack of it."""

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
import yaml
from moto import mock_aws

from tests.deploy.aws import ARGUMENTS, FOLDER, REGION, ROOT, deploy, load, module, render
from tests.deploy.linters import has_nothing_to_say, shellcheck

metrics = module("metrics")


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render(tmp_path_factory.mktemp("rendered"))


# As it is written.


@pytest.fixture(scope="module")
def template(rendered: Path) -> dict[str, Any]:
    return load(rendered)


def of_type(template: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    return {
        name: resource["Properties"]
        for name, resource in template["Resources"].items()
        if resource["Type"] == kind
    }


def test_cfn_lint_has_nothing_to_say(rendered: Path) -> None:
    has_nothing_to_say("cfn-lint", FOLDER / "captioner.yaml", rendered / "template.yaml")


def rules(template: dict[str, Any], direction: str) -> set[tuple[str, str, int, str]]:
    """Group, protocol, port and, as text, with whom."""
    found = []
    for name, group in of_type(template, "AWS::EC2::SecurityGroup").items():
        found += [(name, rule) for rule in group.get(f"SecurityGroup{direction}", [])]
    for rule in of_type(template, f"AWS::EC2::SecurityGroup{direction}").values():
        found.append((rule["GroupId"]["Fn::GetAtt"][0], rule))
    whom = ("CidrIp", "SourceSecurityGroupId", "DestinationSecurityGroupId")
    told = set()
    for name, rule in found:
        assert rule["FromPort"] == rule["ToPort"]
        (peer,) = [rule[key] for key in whom if key in rule]
        who = peer["Ref"] if "Ref" in peer else peer["Fn::GetAtt"][0]
        told.add((name, rule["IpProtocol"], rule["FromPort"], who))
    return told


def test_only_inference_and_the_probe_can_be_reached(template: dict[str, Any]) -> None:
    balancer, instance = "LoadBalancerSecurityGroup", "InstanceSecurityGroup"
    assert rules(template, "Ingress") == {
        (balancer, "tcp", 443, "AllowedCidr"),
        (instance, "tcp", 8080, balancer),
        (instance, "tcp", 8079, balancer),
    }
    assert rules(template, "Egress") == {
        (balancer, "tcp", 8080, instance),
        (balancer, "tcp", 8079, instance),
        (instance, "tcp", 443, "EgressCidr"),
    }
    # Who may ask has no default, and no rule has an address of its own.
    assert "Default" not in template["Parameters"]["AllowedCidr"]
    text = json.dumps(template["Resources"])
    # Whom the container's gate does not count is no rule of who may ask.
    text = text.replace("CAPTIONER_UNLIMITED=0.0.0.0/0", "")
    assert "0.0.0.0/0" not in text
    assert "::/0" not in text
    (listener,) = of_type(template, "AWS::ElasticLoadBalancingV2::Listener").values()
    assert (listener["Port"], listener["Protocol"]) == (443, "HTTPS")
    assert listener["DefaultActions"][0]["FixedResponseConfig"]["StatusCode"] == "404"


def test_an_update_waits_for_a_caption_and_leaves_as_many_in_service(
    template: dict[str, Any],
) -> None:
    group = template["Resources"]["Group"]
    update = group["UpdatePolicy"]["AutoScalingRollingUpdate"]
    assert update["WaitOnResourceSignals"] is True
    assert update["MinInstancesInService"] == group["Properties"]["MinSize"]
    assert group["CreationPolicy"]["ResourceSignal"]["Count"] == {"Ref": "Instances"}
    assert group["Properties"]["HealthCheckType"] == "ELB"
    # They must be able to launch, to end and to be registered.
    assert not {"Launch", "Terminate", "AddToLoadBalancer"} & set(update["SuspendProcesses"])
    # What is put in service is this very version of the launch template.
    version = {"Fn::GetAtt": ["LaunchTemplate", "LatestVersionNumber"]}
    assert group["Properties"]["LaunchTemplate"]["Version"] == version
    assert "--resource Group " in (FOLDER / "user-data.sh").read_text()


def test_requests_in_flight_are_drained(template: dict[str, Any]) -> None:
    (target,) = of_type(template, "AWS::ElasticLoadBalancingV2::TargetGroup").values()
    attributes = {each["Key"]: each["Value"] for each in target["TargetGroupAttributes"]}
    served = yaml.safe_load((ROOT / "handler" / "model-config.yaml").read_text())
    delay = int(attributes["deregistration_delay.timeout_seconds"])
    assert delay > served["responseTimeout"]
    (balancer,) = of_type(template, "AWS::ElasticLoadBalancingV2::LoadBalancer").values()
    kept = {each["Key"]: each["Value"] for each in balancer["LoadBalancerAttributes"]}
    assert int(kept["idle_timeout.timeout_seconds"]) > served["responseTimeout"]


def test_the_balancer_waits_for_the_whole_probe(template: dict[str, Any]) -> None:
    (target,) = of_type(template, "AWS::ElasticLoadBalancingV2::TargetGroup").values()
    two_requests = 2 * 10  # seconds, the default of ready.py
    assert target["HealthCheckTimeoutSeconds"] > two_requests
    assert target["HealthCheckIntervalSeconds"] > target["HealthCheckTimeoutSeconds"]


def test_alarms_watch_what_is_published(template: dict[str, Any]) -> None:
    alarms = of_type(template, "AWS::CloudWatch::Alarm")
    ours = {
        alarm["MetricName"]
        for alarm in alarms.values()
        if alarm.get("Namespace") == metrics.NAMESPACE
    }
    assert ours == {"QueueTime", "GPUUtilization"}
    for alarm in alarms.values():
        if alarm.get("Namespace") == metrics.NAMESPACE:
            assert alarm["Dimensions"] == [{"Name": "Stack", "Value": {"Ref": "AWS::StackName"}}]
        assert alarm["AlarmActions"]["Fn::If"][0] == "Alarmed"
    failing = alarms["ErrorsAlarm"]["Metrics"]
    assert {m["MetricStat"]["Metric"]["MetricName"] for m in failing if "MetricStat" in m} == {
        "HTTPCode_Target_5XX_Count",
        "RequestCount",
    }


# As moto makes a stack of it.


@pytest.fixture
def stack(rendered: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """A stack in moto and clients for it.

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
    ec2 = client("ec2")
    (found,) = ec2.describe_launch_templates()["LaunchTemplates"]
    versions = ec2.describe_launch_template_versions(LaunchTemplateId=found["LaunchTemplateId"])
    data: dict[str, Any] = versions["LaunchTemplateVersions"][0]["LaunchTemplateData"]
    return data


unsupported = pytest.mark.filterwarnings("ignore:Tried to parse AWS..CloudWatch..Alarm:UserWarning")


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
    document = ast.literal_eval(policy["PolicyDocument"])  # moto tells it as Python
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
        # The last three know no resources.
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
    assert data.isascii()  # CloudFormation makes question marks of the rest
    assert data.startswith(b"#!/bin/bash\n")
    text = data.decode()
    assert "@include" not in text
    assert "${AWS::" not in text
    for name in ("ready.py", "metrics.py"):
        assert (FOLDER / name).read_text() in text
    (tmp_path / "user-data").write_text(text)
    shellcheck(tmp_path / "user-data")
    shellcheck(FOLDER / "user-data.sh")


def test_the_readme_s_arguments_are_the_script_s(tmp_path: Path) -> None:
    readme = (FOLDER / "README.md").read_text()
    (lines,) = re.findall(r"^ *cat > production.args << 'END'\n(.*?)\n *END$", readme, re.M | re.S)
    (tmp_path / "production.args").write_text(lines)
    nothing = dict.fromkeys(name.replace("-", "_") for name in ARGUMENTS)
    done = deploy(tmp_path, "@production.args", "--dry-run", **nothing)
    assert done.returncode == 0, done.stderr
    links = re.findall(r"\]\(([^)#:]+)", readme)
    assert links
    assert all((FOLDER / link).exists() for link in links)
