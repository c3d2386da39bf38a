"""The rooms of `training` import one way: data, scoring, reporting. The loop may use them all."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TRAINING = Path(__file__).resolve().parents[2] / "training"

# Each room, and the others that it may import.
MAY_IMPORT = {
    "data": set(),
    "distillation": {"data"},
    "scoring": {"data"},
    "reporting": {"data", "scoring"},
}
ROOMS = {*MAY_IMPORT, "loop"}
EVERYWHERE = "training.reporting.progress"  # a bar or a line in the log, for any long work


def rooms_imported(path: Path) -> set[str]:
    modules = {
        node.module
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module and node.module != EVERYWHERE
    }
    parts = [module.split(".") for module in modules]
    return {part[1] for part in parts if part[0] == "training" and len(part) > 1} & ROOMS


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_rooms_import_one_way(room: str) -> None:
    paths = list((TRAINING / room).rglob("*.py"))
    assert paths
    for path in paths:
        excess = rooms_imported(path) - MAY_IMPORT[room] - {room}
        assert not excess, f"{path.relative_to(TRAINING)} imports {excess}"
