"""The files that start many captioners, as far as they can be checked without a cluster."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from captioner.bulk.parts.share import Share
from captioner.cli.caption_parts import THIS_MACHINE
from captioner.cli.main import command_parser
from captioner.paths import ROOT
from tests.deploy.linters import assert_no_findings

FOLDER = ROOT / "deploy" / "bulk"
JOB = yaml.safe_load((FOLDER / "job.yaml").read_text())
RAY = yaml.safe_load((FOLDER / "ray.yaml").read_text())


def test_hadolint_has_no_findings() -> None:
    assert_no_findings("hadolint", FOLDER / "Dockerfile")


def test_cfn_lint_has_no_findings() -> None:
    assert_no_findings("cfn-lint", FOLDER / "batch.yaml")


def test_kubernetes_schema_has_no_findings() -> None:
    assert_no_findings("kubernetes-validate", "--strict", FOLDER / "job.yaml")


def schema_of_ray() -> dict[str, Any]:
    """Return the schema that `ray up` checks a cluster's file against, without importing Ray."""
    spec = importlib.util.find_spec("ray")
    assert spec
    assert spec.origin
    return dict(json.loads((Path(spec.origin).parent / "autoscaler/ray-schema.json").read_text()))


def test_the_cluster_of_ray_fits_its_schema() -> None:
    jsonschema.validate(RAY, schema_of_ray())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(RAY | {"max_worker": 1}, schema_of_ray())
    assert RAY["head_node_type"] in RAY["available_node_types"]


def test_the_cluster_has_the_version_that_is_tested() -> None:
    (version,) = [
        line for line in (ROOT / "requirements-dev.txt").read_text().split() if line[:5] == "ray=="
    ]
    assert f"ray[default]=={version[5:]}" in RAY["setup_commands"][-1]


def test_the_cluster_runs_the_documented_command() -> None:
    document = (ROOT / "docs" / "bulk.md").read_text()
    (command,) = re.findall(r"ray exec deploy/bulk/ray\.yaml \\\n +'(.+)'", document)
    program, name, *arguments = shlex.split(command)
    assert f"{Path(program).parent}/pip install" in RAY["setup_commands"][-1]
    assert name == "caption"
    assert command_parser("caption").parse_args(arguments).ray == THIS_MACHINE


def test_the_job_has_a_pod_for_each_share() -> None:
    spec = JOB["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    arguments = command_parser("caption").parse_args(container["args"])
    assert isinstance(arguments.out, str)  # a folder of parts
    count = spec["completions"]
    environments = [{"JOB_COMPLETION_INDEX": str(index)} for index in range(count)]
    shares = [Share.parse(arguments.part, environment) for environment in environments]
    assert shares == [Share(index, count) for index in range(count)]


class Loader(yaml.SafeLoader):
    """Reads CloudFormation's short functions as their arguments."""


Loader.add_multi_constructor(
    "!", lambda loader, _, node: getattr(loader, f"construct_{node.id}")(node)
)


def test_the_array_job_writes_shares() -> None:
    template = yaml.load((FOLDER / "batch.yaml").read_text(), Loader)
    properties = template["Resources"]["JobDefinition"]["Properties"]["ContainerProperties"]
    arguments = command_parser("caption").parse_args(properties["Command"])
    assert isinstance(arguments.out, str)
    environment = {"AWS_BATCH_JOB_ARRAY_INDEX": "3", "AWS_BATCH_JOB_ARRAY_SIZE": "8"}
    assert Share.parse(arguments.part, environment) == Share(3, 8)
