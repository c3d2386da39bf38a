"""Imports run one way; see the layout in the README."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# Every module of the model may import those in the rows above its own.
ORDER = [
    ["config", "word_map", "device", "files", "products", "efficientnet_lite", "colour"],
    ["folding", "calibration", "consensus", "samples"],
    ["encoder", "decoder", "tiff"],
    ["network", "image"],
    ["beam_search", "checkpoint"],
    ["captioner", "decoding_cost"],
    ["__init__"],
]
MAY_IMPORT = {
    "model": {"model"},
    "handler": {"handler", "model"},
    "training": {"training", "model"},
    "scripts": {"scripts", "handler", "training", "model"},
}


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            found |= {node.module or ""} | {f"{node.module}.{a.name}" for a in node.names}
    return found


def test_packages_import_one_way() -> None:
    for package, allowed in MAY_IMPORT.items():
        for path in (ROOT / package).glob("*.py"):
            ours = {name.split(".")[0] for name in imports(path)} & MAY_IMPORT.keys()
            assert ours <= allowed, f"{path.name} imports {ours - allowed}"
            if package == "model":
                assert not any(n.split(".")[0] == "ts" for n in imports(path))


def test_modules_of_the_model_import_upwards() -> None:
    rank = {name: i for i, row in enumerate(ORDER) for name in row}
    modules = {path.stem for path in (ROOT / "model").glob("*.py")}
    assert modules == rank.keys()
    for module in modules:
        for name in imports(ROOT / "model" / f"{module}.py"):
            package, _, other = name.partition(".")
            if package == "model" and (other := other.split(".")[0]) in rank:
                assert rank[other] < rank[module], f"model.{module} imports model.{other}"


def test_the_shipped_captioner_imports_nothing_slow_that_it_does_not_use() -> None:
    code = (
        "import sys; from model import Captioner; Captioner.load('checkpoints/flickr8k').warm_up();"
        " print(*{'timm', 'torchvision', 'torch._dynamo', 'sympy'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "\n")


def test_the_command_line_starts_without_torch() -> None:
    code = "import sys, scripts.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
