"""The text of the AWS template."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.aws.deployment import FOLDER, ROOT, module
from tests.deploy.linters import assert_no_findings

metrics = module("metrics")


def of_type(template: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    """Return the properties of the resources of one type, by their names."""
    return {
        name: resource["Properties"]
        for name, resource in template["Resources"].items()
        if resource["Type"] == kind
    }


def test_cfn_lint_has_no_findings(rendered: Path) -> None:
    assert_no_findings("cfn-lint", FOLDER / "captioner.yaml", rendered / "template.yaml")


def rules(template: dict[str, Any], direction: str) -> set[tuple[str, str, int, str]]:
    """Return group, protocol, port and peer of every rule in one direction."""
    found = []
    for name, group in of_type(template, "AWS::EC2::SecurityGroup").items():
        found += [(name, rule) for rule in group.get(f"SecurityGroup{direction}", [])]
    for rule in of_type(template, f"AWS::EC2::SecurityGroup{direction}").values():
        found.append((rule["GroupId"]["Fn::GetAtt"][0], rule))
    peers = ("CidrIp", "SourceSecurityGroupId", "DestinationSecurityGroupId")
    listed = set()
    for name, rule in found:
        assert rule["FromPort"] == rule["ToPort"]
        (peer,) = [rule[key] for key in peers if key in rule]
        name_of_peer = peer["Ref"] if "Ref" in peer else peer["Fn::GetAtt"][0]
        listed.add((name, rule["IpProtocol"], rule["FromPort"], name_of_peer))
    return listed


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
    # The allowed network has no default, and no rule names an address itself.
    assert "Default" not in template["Parameters"]["AllowedCidr"]
    text = json.dumps(template["Resources"])
    # The networks that the container's gate does not limit are not a security rule.
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
    # Instances must be able to launch, to end and to be registered.
    assert not {"Launch", "Terminate", "AddToLoadBalancer"} & set(update["SuspendProcesses"])
    # An update starts instances with its own version of the launch template.
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
