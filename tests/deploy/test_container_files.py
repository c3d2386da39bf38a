"""The Dockerfile, compose.yaml and their scripts, as far as they can be checked without Docker."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from captioner.operations.container import Addresses
from captioner.paths import ROOT
from tests.deploy.linters import assert_no_findings, shellcheck

COMPOSE = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]


def test_hadolint_has_no_findings() -> None:
    assert_no_findings("hadolint", ROOT / "Dockerfile")


def build_context() -> set[str]:
    """Return the files and folders that the image is built from."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    return {line.removeprefix("!") for line in lines if line.startswith("!")}


def test_the_image_is_built_from_all_that_a_wheel_holds() -> None:
    setup = (ROOT / "setup.py").read_text()
    shipped = re.search(r"SHIPPED = \((.*?)\)", setup, re.DOTALL)
    assert shipped
    needed = {pattern.removesuffix("/*") for pattern in re.findall('"(.*?)"', shipped[1])}
    assert needed
    assert needed <= build_context()


@pytest.mark.parametrize(
    "script",
    [
        "scripts/image",
        "scripts/bootstrap",
        "scripts/serve",
        "scripts/test",
        "benchmarks/gpu.sh",
        ".ci/run",
    ],
)
def test_shellcheck_has_no_findings(script: str) -> None:
    shellcheck(ROOT / script)


def test_the_image_exposes_the_ports_it_listens_on() -> None:
    web, torchserve = re.findall(r"^EXPOSE (.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    ports = [address.rpartition(":")[2] for address in vars(Addresses()).values()]
    assert torchserve.split() == ports
    assert web == ports[0]


def test_scripts_image_names_the_missing_programs(tmp_path: Path) -> None:
    for name in ("dirname", "sh"):
        (tmp_path / name).symlink_to(shutil.which(name) or "")
    done = subprocess.run(
        [ROOT / "scripts" / "image"], env={"PATH": str(tmp_path)}, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr == ("image: neither Docker nor buildah is installed; install one of them\n")


def test_only_nginx_is_reached_from_outside() -> None:
    published = {
        name: [str(port).rpartition(":")[0] for port in service.get("ports", [])]
        for name, service in SERVICES.items()
    }
    outside = {
        name
        for name, hosts in published.items()
        if any(not host.startswith("127.0.0.1:") for host in hosts)
    }
    assert outside == {"nginx"}
    assert {str(port).rpartition(":")[2] for port in SERVICES["nginx"]["ports"]} == {"80", "443"}


@pytest.mark.parametrize("name", ["captioner", "captioner-gpu"])
def test_the_captioner_is_confined(name: str) -> None:
    service = SERVICES[name]
    assert service["network_mode"] == "service:nginx"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["tmpfs"][0].startswith("/tmp:")
    assert int(service["stop_grace_period"].rstrip("s")) > 30  # seconds to answer accepted requests
    known = {f"CAPTIONER_{name.upper()}" for name in vars(Addresses())}
    assert {n for n in service["environment"] if n.startswith("CAPTIONER")} <= known
    for part in ("INFERENCE", "MANAGEMENT"):
        assert service["environment"][f"CAPTIONER_{part}"].startswith("127.0.0.1:")


def test_the_logs_of_containers_are_bounded() -> None:
    for name, service in SERVICES.items():
        assert service["logging"]["options"].keys() == {"max-size", "max-file"}, name


def test_the_shared_limits_are_in_the_image_and_in_nginx() -> None:
    assert "deploy/nginx/captioner" in build_context()
    assert "./nginx/captioner:/etc/nginx/captioner:ro" in SERVICES["nginx"]["volumes"]


def test_each_profile_has_one_captioner() -> None:
    profiles = [service["profiles"] for service in SERVICES.values() if "profiles" in service]
    assert sorted(profiles) == [["cpu"], ["gpu"]]
    (device,) = SERVICES["captioner-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]


def test_mounted_files_exist() -> None:
    """The secrets alone are missing: the operator makes them."""
    mounted = [volume for service in SERVICES.values() for volume in service.get("volumes", [])]
    assert mounted
    for volume in mounted:
        source = volume.split(":")[0]
        if source.startswith("."):
            assert (ROOT / "deploy" / source).exists() or source.endswith("/secrets"), source
        else:
            assert source in COMPOSE["volumes"]


def test_prometheus_reads_the_captioner_and_grafana_reads_prometheus() -> None:
    config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    ((target,),) = [each["targets"] for each in config["scrape_configs"][0]["static_configs"]]
    metrics = SERVICES["captioner"]["environment"]["CAPTIONER_METRICS"]
    assert target == f"nginx:{metrics.rpartition(':')[2]}"
    folder = ROOT / "deploy" / "grafana" / "provisioning"
    (source,) = yaml.safe_load((folder / "datasources/prometheus.yaml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (given,) = yaml.safe_load((folder / "dashboards/captioner.yaml").read_text())["providers"]
    inside = [volume.split(":")[1] for volume in SERVICES["grafana"]["volumes"]]
    assert f"{given['options']['path']}/captioner.json" in inside
