"""Arguments of scripts/aws-deploy, an archive, and the template, for the tests."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "deploy" / "aws"
SCRIPT = ROOT / "scripts" / "aws-deploy"
REGION = "eu-west-1"
DIGEST = "0123456789abcdef" * 4
IMAGE = f"123456789012.dkr.ecr.{REGION}.amazonaws.com/team/captioner@sha256:{DIGEST}"
CERTIFICATE = f"arn:aws:acm:{REGION}:123456789012:certificate/12345678-1234-1234-1234-123456789012"
ARGUMENTS = {
    "stack": "captioner-test",
    "region": REGION,
    "bucket": "example-captioner",
    "image": IMAGE,
    "vpc": "vpc-0123456789abcdef0",
    "public-subnets": "subnet-0a,subnet-0b",
    "private-subnets": "subnet-0c,subnet-0d",
    "certificate": CERTIFICATE,
    "allowed-cidr": "203.0.113.0/24",
}


def module(name: str) -> ModuleType:
    """Import a program of deploy/aws, which is in no package."""
    spec = importlib.util.spec_from_file_location(f"aws_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def write_archive(path: Path, name: str = "captioner", left_out: str = "") -> Path:
    """Write an archive that has every member of a captioner's, but for one."""
    manifest = {"modelName": name, "modelVersion": "1.2", "handler": "captioner_handler.py"}
    members = {
        "MAR-INF/MANIFEST.json": json.dumps({"model": manifest}),
        "captioner_handler.py": "",
        "model-config.yaml": "{batchSize: 1, maxBatchDelay: 1, responseTimeout: 1}",
        "golden.json": json.dumps([{"photo": "", "caption": "a photo"}]),
        "config.json": "{}",
        "model.safetensors": "weights",
        "word_map.json": "{}",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members.items():
            if member != left_out:
                archive.writestr(member, content)
    return path


def deploy(
    folder: Path, *extra: str, path: str | None = None, **changed: str | None
) -> subprocess.CompletedProcess[str]:
    """Run the script in a folder with an archive in it."""
    archive = folder / "captioner.mar"
    if not archive.exists():
        write_archive(archive)
    given: dict[str, str | None] = {"archive": archive.name, "out": "out", **ARGUMENTS}
    given |= {name.replace("_", "-"): value for name, value in changed.items()}
    arguments = [f"--{name}={value}" for name, value in given.items() if value is not None]
    environment = os.environ | ({} if path is None else {"PATH": path})
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments, *extra],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )


def render(folder: Path) -> Path:
    """Write the whole template and its parameters, as --dry-run does; return their folder."""
    done = deploy(folder, "--dry-run")
    assert done.returncode == 0, done.stderr
    return folder / "out"


class Loader(yaml.SafeLoader):
    """Reads CloudFormation's short forms, such as !Ref, as their long forms."""


def long_form(loader: yaml.SafeLoader, tag: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        assert isinstance(node, yaml.MappingNode)
        value = loader.construct_mapping(node, deep=True)
    if tag == "GetAtt":
        value = value.split(".")
    return {tag if tag == "Ref" else f"Fn::{tag}": value}


Loader.add_multi_constructor("!", long_form)


def load(folder: Path) -> dict[str, Any]:
    """Load the template that was rendered into a folder."""
    template: dict[str, Any] = yaml.load((folder / "template.yaml").read_text(), Loader)
    return template
