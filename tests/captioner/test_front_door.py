"""Names that can be imported from the packages `captioner` and `model` themselves."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("package", ["captioner", "model"])
def test_every_name_is_there_and_listed(package: str) -> None:
    module = importlib.import_module(package)
    for name in module.__all__:
        assert getattr(module, name) is not None
        assert name in dir(module)
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'Captoner'"):
        _ = module.Captoner


def test_the_two_packages_share_their_classes() -> None:
    import captioner
    import model

    for name in model.__all__:
        assert getattr(captioner, name) is getattr(model, name)


@pytest.mark.parametrize("package", ["captioner", "model"])
def test_type_checkers_see_the_same_names(package: str) -> None:
    """They do not run `__getattr__`; they read the imports under `TYPE_CHECKING`."""
    folder = ROOT / package
    (block,) = (
        node
        for node in ast.parse((folder / "__init__.py").read_text()).body
        if isinstance(node, ast.If)
    )
    seen = set()
    for node in block.body:
        if isinstance(node, ast.ImportFrom):
            seen |= {alias.name for alias in node.names}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            seen.add(node.target.id)
    assert seen == set(importlib.import_module(package).__all__)
    assert (folder / "py.typed").is_file()


def test_decoding_options_and_the_client_need_no_torch() -> None:
    code = """
import sys
from captioner import DecodingOptions, __version__
assert DecodingOptions().beam_size and __version__
from captioner import AsyncCaptionClient, CaptionClient
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
