"""Imports run one way, between packages and within `model`; docs/architecture.md draws them."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# The packages, and the others that each may import.
MAY_IMPORT = {
    "model": set(),
    "handler": {"model"},
    "training": {"model"},
    "captioner": {"model", "handler", "training"},
    "benchmarks": {"model", "handler", "training", "captioner"},
}
# The parts of `captioner` that serve, and the package that they may not import.
NEVER = {
    "captioner/operations": "training",
    "captioner/tutorial": "training",
    "captioner/client": "training",
    "captioner/bulk": "training",
    "captioner/web": "training",
}
# `captioner bench` runs what only a checkout has, and imports it when it runs.
EXCEPTIONS = {("captioner/cli/bench.py", "benchmarks")}

# A module of the model may import those in the rows above its own.
ORDER = [
    ["english"],
    ["config", "word_map", "files", "process", "decoding_options", "decoding_step"],
    ["photo_names", "tar_members"],
    ["lettering", "attention_overlay"],
    ["inference.devices", "inference.lanes", "inference.products", "inference.efficientnet_lite"],
    ["inference.folding", "calibration", "consensus"],
    ["image.errors", "image.profiles"],
    ["image.jpeg", "image.samples", "image.colour"],
    ["image.tiff"],
    ["image.formats"],
    ["image.limits"],
    ["image.header"],
    ["image.decoding"],
    ["image", "image.cost"],
    ["encoder", "decoder", "hypotheses"],
    ["network"],
    ["beam_search", "checkpoint", "inference.prepared", "inference.rounding"],
    ["captioner", "attention_picture"],
]


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            found |= {node.module or ""} | {f"{node.module}.{a.name}" for a in node.names}
    return found


def packages_of(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(path)}


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_packages_import_one_way(package: str) -> None:
    assert sources(package)
    for path in sources(package):
        name = path.relative_to(ROOT).as_posix()
        ours = (packages_of(path) & MAY_IMPORT.keys()) - {package}
        excess = {each for each in ours - MAY_IMPORT[package] if (name, each) not in EXCEPTIONS}
        assert not excess, f"{name} imports {excess}"


def test_the_model_knows_no_torchserve() -> None:
    assert not [path for path in sources("model") if "ts" in packages_of(path)]


@pytest.mark.parametrize(("place", "other"), NEVER.items())
def test_serving_imports_no_training(place: str, other: str) -> None:
    paths = sources(place) if (ROOT / place).is_dir() else [ROOT / place]
    assert paths
    assert not [path for path in paths if other in packages_of(path)]


def name_in_model(path: Path) -> str:
    """Return "image.jpeg" for model/image/jpeg.py; "" for empty files and model/__init__.py."""
    parts = path.relative_to(ROOT / "model").with_suffix("").parts
    if parts[-1] == "__init__":
        parts = parts[:-1] if path.read_text() else ()
    return ".".join(parts)


def test_modules_of_the_model_import_upwards() -> None:
    rank = {name: i for i, row in enumerate(ORDER) for name in row}
    modules = {name: path for path in sources("model") if (name := name_in_model(path))}
    assert modules.keys() == rank.keys()
    for module, path in modules.items():
        for name in imports(path):
            other = name.removeprefix("model.")
            # A module always imports the package that it lies in.
            if other in rank and name != other and not module.startswith(f"{other}."):
                assert rank[other] < rank[module], f"model.{module} imports model.{other}"


def test_every_folder_of_code_is_a_package_that_the_build_finds() -> None:
    """tests/test_install.py looks into the wheel itself."""
    for package in MAY_IMPORT:
        for folder in {path.parent for path in sources(package)}:
            assert (folder / "__init__.py").is_file(), f"{folder} lacks __init__.py"


@pytest.mark.slow
def test_the_shipped_captioner_imports_nothing_slow_that_it_does_not_use() -> None:
    code = (
        "import sys; from model import Captioner; Captioner.load('checkpoints/flickr8k').warm_up();"
        " print(*{'timm', 'torchvision', 'torch._dynamo', 'sympy'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "\n")


@pytest.mark.parametrize("module", ["captioner", "captioner.cli.main", "model"])
def test_what_is_imported_first_is_without_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_the_web_server_is_without_torch_and_torchserve() -> None:
    """Its workers have torch; the process that speaks HTTP starts faster and is smaller without."""
    code = "import sys, captioner.web.run; print(*{'torch', 'PIL', 'ts'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "\n"), done.stderr


def test_help_comes_without_torch_and_only_from_its_command() -> None:
    """The names of all that `captioner --help` and then every other ``--help`` have imported."""
    code = """
import sys
from captioner.cli.main import COMMANDS, main
modules = {f"captioner.cli.{name.replace('-', '_')}" for name in COMMANDS}
for command in ["", *COMMANDS]:
    try:
        main([*filter(None, [command]), "--help"])
    except SystemExit as exit:
        assert not exit.code, command
    heavy = {"torch", "ts", "matplotlib", "httpx2", "PIL"} & sys.modules.keys()
    assert not heavy, (command, heavy)
    if not command:
        assert modules.isdisjoint(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
