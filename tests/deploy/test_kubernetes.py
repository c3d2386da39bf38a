"""The manifests for Kubernetes and KServe, as far as they can be checked without a cluster."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from captioner.cli.main import command_parser
from captioner.operations.store import MODEL
from captioner.paths import ROOT
from captioner.web.container import web_arguments
from captioner.web.endpoints import Endpoints
from captioner.web.models import Models
from captioner.web.routes import routes
from captioner.web.server import STOP_SECONDS
from captioner.web.settings import Batching, Limits
from captioner.web.versions import ServedVersion
from tests.deploy.linters import assert_no_findings

KUBERNETES, KSERVE = ROOT / "deploy" / "kubernetes", ROOT / "deploy" / "kserve"


def read(path: Path) -> dict[str, Any]:
    content = yaml.safe_load(path.read_text())
    assert isinstance(content, dict)
    return content


DEPLOYMENT, SERVICE, AUTOSCALER, DISRUPTION = (
    read(KUBERNETES / f"{name}.yaml")
    for name in ("deployment", "service", "autoscaler", "disruption")
)
RUNTIME, INFERENCE = (read(KSERVE / f"{name}.yaml") for name in ("runtime", "inferenceservice"))
POD = DEPLOYMENT["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]
(KSERVE_CONTAINER,) = RUNTIME["spec"]["containers"]
CONTAINERS = pytest.mark.parametrize("container", [CONTAINER, KSERVE_CONTAINER])

# The fields of KServe's own types that the files use, from its sources (pkg/apis/serving: v1alpha1
# ServingRuntimeSpec; v1beta1 PredictorSpec, ModelSpec, ComponentExtensionSpec). Containers and
# volumes are Kubernetes' own.
TEXT, COUNT, LIST = {"type": "string"}, {"type": "integer", "minimum": 0}, {"type": "array"}
PROTOCOLS = {"enum": ["v1", "v2", "grpc-v1", "grpc-v2"]}


def strict(*required: str, **properties: object) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


FORMAT = strict(
    "name", name=TEXT, version=TEXT, autoSelect={"type": "boolean"}, priority={"minimum": 1}
)
RUNTIME_SPEC = strict(
    "containers",
    supportedModelFormats={"type": "array", "items": FORMAT},
    protocolVersions={"type": "array", "items": PROTOCOLS},
    containers=LIST,
    volumes=LIST,
)
PREDICTOR_MODEL = strict(
    "modelFormat",
    modelFormat=strict("name", name=TEXT, version=TEXT),
    runtime=TEXT,
    protocolVersion=PROTOCOLS,
    storageUri=TEXT,
    resources={"type": "object"},
)
PREDICTOR = strict(
    "model",
    minReplicas=COUNT,
    maxReplicas=COUNT,
    scaleMetric={"enum": ["cpu", "memory", "concurrency", "rps"]},
    scaleTarget=COUNT,
    timeout=COUNT,
    terminationGracePeriodSeconds=COUNT,
    model=PREDICTOR_MODEL,
)


@pytest.mark.parametrize("path", sorted(KUBERNETES.glob("*.yaml")), ids=lambda path: path.stem)
def test_kubernetes_schema_has_no_findings(path: Path) -> None:
    assert_no_findings("kubernetes-validate", "--strict", path)


def test_kserves_types_have_the_fields() -> None:
    jsonschema.validate(RUNTIME["spec"], RUNTIME_SPEC)
    jsonschema.validate(INFERENCE["spec"], strict("predictor", predictor=PREDICTOR))
    assert RUNTIME["apiVersion"] == "serving.kserve.io/v1alpha1"
    assert INFERENCE["apiVersion"] == "serving.kserve.io/v1beta1"
    assert KSERVE_CONTAINER["name"] == "kserve-container"  # the one that KServe looks for
    model = INFERENCE["spec"]["predictor"]["model"]
    assert model["runtime"] == RUNTIME["metadata"]["name"]
    assert model["protocolVersion"] in RUNTIME["spec"]["protocolVersions"]
    formats = [each["name"] for each in RUNTIME["spec"]["supportedModelFormats"]]
    assert model["modelFormat"]["name"] in formats
    assert INFERENCE["metadata"]["name"] == MODEL  # as in /v2/models/captioner/infer


def test_kserves_pod_is_one_of_kubernetes() -> None:
    spec = {name: RUNTIME["spec"][name] for name in ("containers", "volumes")}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": spec}
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(pod, file)
        file.flush()
        assert_no_findings("kubernetes-validate", "--strict", file.name)


@CONTAINERS
def test_probes_ask_addresses_of_the_web_server(container: dict[str, Any]) -> None:
    models = Models([ServedVersion("1.0", Path())], limits=Limits())
    paths = {getattr(route, "path", "") for route in routes(Endpoints(models))}
    (port,) = container["ports"]
    for name in ("startup", "readiness", "liveness"):
        asked = container[f"{name}Probe"]["httpGet"]
        assert asked["path"] in paths
        assert asked["port"] in (port["containerPort"], port.get("name"))
    assert port["containerPort"] == command_parser("web").get_default("port")
    assert container["readinessProbe"]["httpGet"]["path"] == "/v2/health/ready"
    assert container["livenessProbe"]["httpGet"]["path"] == "/v2/health/live"
    start = container["startupProbe"]
    assert start["periodSeconds"] * start["failureThreshold"] > Batching().startup_timeout


@CONTAINERS
def test_the_container_is_confined(container: dict[str, Any]) -> None:
    context = container["securityContext"]
    assert context["readOnlyRootFilesystem"] is True
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}
    user = POD["securityContext"] | context
    assert (user["runAsNonRoot"], user["runAsUser"]) == (True, 10001)
    assert f"--uid {user['runAsUser']} " in (ROOT / "Dockerfile").read_text()
    assert [mount["mountPath"] for mount in container["volumeMounts"]] == ["/tmp"]
    for kind in ("cpu", "memory"):
        assert container["resources"]["requests"][kind]
    (threads,) = container["env"]
    assert threads["name"] == "OMP_NUM_THREADS"
    assert threads["value"] == container["resources"]["limits"]["cpu"]
    command, *rest = web_arguments(container["args"])
    command_parser(command).parse_args(rest)


def test_a_pod_has_the_time_to_answer_what_it_has() -> None:
    wait = CONTAINER["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert POD["terminationGracePeriodSeconds"] > wait + STOP_SECONDS
    assert INFERENCE["spec"]["predictor"]["terminationGracePeriodSeconds"] > STOP_SECONDS
    rolling = DEPLOYMENT["spec"]["strategy"]["rollingUpdate"]
    assert (rolling["maxSurge"], rolling["maxUnavailable"]) == (1, 0)


def test_the_objects_name_each_other() -> None:
    labels = DEPLOYMENT["spec"]["template"]["metadata"]["labels"]
    for selector in (
        DEPLOYMENT["spec"]["selector"]["matchLabels"],
        SERVICE["spec"]["selector"],
        DISRUPTION["spec"]["selector"]["matchLabels"],
    ):
        assert selector == labels
    target = AUTOSCALER["spec"]["scaleTargetRef"]
    assert target["name"] == DEPLOYMENT["metadata"]["name"]
    assert "replicas" not in DEPLOYMENT["spec"]  # which would undo the autoscaler at each apply
    (port,) = SERVICE["spec"]["ports"]
    assert port["targetPort"] in [each["name"] for each in CONTAINER["ports"]]
